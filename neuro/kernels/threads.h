// Work shared between the caller and the threads of XLA's pool.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

// Calls job(i) for i in 0..jobs-1. The caller works too, and waits only for jobs that others have begun, so that a
// pool whose threads are all busy cannot block it; a helper that comes late finds nothing to do.
inline void share(xla::ffi::ThreadPool& pool, int jobs, const std::function<void(int)>& job) {
  struct State {
    std::atomic<int> next{0};
    int busy = 0;
    bool over = false;
    std::mutex lock;
    std::condition_variable idle;
    std::function<void(int)> job;
  };
  auto state = std::make_shared<State>();
  state->job = job;
  auto work = [jobs](State& s) {
    for (int i; (i = s.next++) < jobs;) s.job(i);
  };
  const int64_t helpers = jobs > 1 ? std::min<int64_t>(pool.num_threads(), jobs) - 1 : 0;
  for (int64_t h = 0; h < helpers; h++)
    pool.Schedule([state, work] {
      {
        std::lock_guard<std::mutex> hold(state->lock);
        if (state->over) return;
        state->busy++;
      }
      work(*state);
      std::lock_guard<std::mutex> hold(state->lock);
      if (!--state->busy) state->idle.notify_one();
    });
  work(*state);
  std::unique_lock<std::mutex> hold(state->lock);
  state->over = true;
  state->idle.wait(hold, [&] { return !state->busy; });
}
