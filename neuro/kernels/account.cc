// XLA's door to `accounts`: a run's spikes in, what they add up to and what its steps wait for out.
#include "account.h"

#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;
using Reals = ffi::Buffer<ffi::F32>;
constexpr int Fixed = 10, Each = 3;  // buffers of all populations together, and of each

// A batch in which samples follow each other `period` steps apart: in the steady state a step holds steps of `depth`
// samples.
struct Run {
  std::vector<accounts::Train> trains;
  accounts::Columns columns;
  accounts::Prices prices;
  int batch, steps, period, depth, sums, beats;
  bool again;
  const int32_t* beat;  // the step of each of the last sums, which are of no spikes: one each
  const float* causes;  // [sum, vector]: borders crossed, every load of all cores
  float *totals, *single, *waits, *flights;

  static int whole(int number) { return (number + accounts::Words - 1) / accounts::Words * accounts::Words; }

  // Samples first..last; those before that are still under way when the first begins are run again.
  void part(int first, int last) const {
    const int stride = whole(steps), pitch = whole(period), events = prices.events();
    std::vector<float> rows(size_t(sums) * stride + accounts::Words), under_way(size_t(depth) * sums * pitch);
    std::vector<float> values(size_t(columns.number) * accounts::Words), wait(accounts::Words);
    std::vector<float> each(size_t(accounts::Words) * events);
    const std::vector<uint8_t> every(trains.size() + 1, 1);
    auto flight = [&](int i) { return under_way.data() + size_t(i % depth) * sums * pitch; };
    for (int k = 0; k < beats; k++) rows[size_t(sums - beats + k) * stride + beat[k]] = 1;
    for (int i = first - (depth ? depth - 1 : 0); i < last; i++) {
      const int sample = (i % batch + batch) % batch;
      for (const accounts::Train& train : trains) accounts::add_sums(train, sample, again, rows.data(), stride);
      if (i >= first) {
        total(rows.data(), stride, totals + size_t(sample) * (2 + prices.loads));
        float* sum = single + size_t(sample) * events;
        std::fill(sum, sum + events, 0.0f);
        for (int t = 0; t < steps; t += accounts::Words) {
          columns.take(rows.data() + t, stride, live(t).data(), values.data());
          accounts::slowest(prices, values.data(), wait.data(), each.data());
          for (int k = 0; k < std::min(accounts::Words, steps - t); k++)
            for (int e = 0; e < events; e++) sum[e] += each[size_t(k) * events + e];
        }
      }
      for (int d = 0; d < depth; d++)
        if (i + d >= first && i + d < last) {
          const int from = d * period, number = std::min(period, steps - from);
          float* to = flight(i + d);
          for (int s = 0; s < sums; s++)
            for (int t = 0; t < number; t++) to[size_t(s) * pitch + t] += rows[size_t(s) * stride + from + t];
        }
      if (!depth || i < first) continue;
      float* done = flight(i);
      for (int t = 0; t < period; t += accounts::Words) {
        columns.take(done + t, pitch, every.data(), values.data());
        accounts::slowest(prices, values.data(), wait.data(), each.data());
        for (int k = 0; k < std::min(accounts::Words, period - t); k++) {
          const size_t at = size_t(t + k) * batch + sample;
          waits[at] = wait[k];
          std::copy_n(each.data() + size_t(k) * events, events, flights + at * events);
        }
      }
      std::fill_n(done, size_t(sums) * pitch, 0.0f);
    }
  }

  // Which populations may spike in the vector of steps from t on; what comes of no spikes always may.
  std::vector<uint8_t> live(int t) const {
    std::vector<uint8_t> found(trains.size() + 1, 1);
    for (size_t p = 0; p < trains.size(); p++)
      found[p] = trains[p].start < t + accounts::Words && t < trains[p].start + trains[p].steps + again;
    return found;
  }

  // Borders crossed, and every load of all cores, over all steps.
  void total(const float* rows, int stride, float* to) const {
    const int number = 2 + prices.loads, width = whole(number);
    std::vector<float> found(width);
    for (int s = 0; s < sums; s++) {
      accounts::Real sum{};
      for (int t = 0; t < stride; t += accounts::Words) sum += lanes::load<accounts::Real>(rows + size_t(s) * stride + t);
      const accounts::Real times = lanes::splat<accounts::Real>(lanes::total(sum));
      for (int k = 0; k < width; k += accounts::Words)
        accounts::add(found.data() + k, times * lanes::load<accounts::Real>(causes + size_t(s) * width + k));
    }
    std::copy_n(found.data(), number, to);
  }
};

ffi::Error account_run(ffi::ThreadPool threads, ffi::RemainingArgs rest, ffi::Result<Reals> totals,
                       ffi::Result<Reals> single, ffi::Result<Reals> waits, ffi::Result<Reals> flights,
                       ffi::Span<const int64_t> starts, ffi::Span<const int64_t> firsts, int32_t steps, int32_t period, int32_t depth, int32_t sent,
                       int32_t overlap, int32_t again, float link, float tick) {
  if (rest.size() != Fixed + Each * starts.size()) return ffi::Error::InvalidArgument("account: a buffer lacks");
  auto load = rest.get<Reals>(0), sweep = rest.get<Reals>(1), causes = rest.get<Reals>(2);
  auto of_core = rest.get<Integers>(3), of_link = rest.get<Integers>(4), beat = rest.get<Integers>(5);
  auto first = rest.get<Integers>(6), segments = rest.get<Integers>(7), sum = rest.get<Integers>(8);
  auto amount = rest.get<Reals>(9);
  if (!load || !sweep || !causes || !of_core || !of_link || !beat || !first || !segments || !sum || !amount)
    return ffi::Error::InvalidArgument("account: prices or columns lack");
  Run run{};
  const int cores = int(sweep->dimensions()[1]), loads = int(load->element_count());
  run.prices = {cores, loads, sent, int(of_link->element_count()), bool(overlap), link, tick, load->typed_data(),
                sweep->typed_data(), sweep->typed_data() + cores, of_core->typed_data(), of_link->typed_data()};
  run.columns = {int(first->element_count()) - 1, first->typed_data(), segments->typed_data(), sum->typed_data(),
                 amount->typed_data()};
  run.batch = int(totals->dimensions()[0]);
  run.steps = steps;
  run.period = period;
  run.depth = depth;
  run.sums = int(causes->dimensions()[0]);
  run.beats = int(beat->element_count());
  run.again = again;
  run.beat = beat->typed_data();
  run.causes = causes->typed_data();
  if (int(causes->dimensions()[1]) != Run::whole(2 + loads) || of_core->element_count() != size_t(loads) * cores ||
      single->dimensions()[1] != run.prices.events() ||
      (depth && (waits->dimensions()[0] != period || depth * period < steps)))
    return ffi::Error::InvalidArgument("account: tables and results do not fit together");
  for (size_t i = 0; i < starts.size(); i++) {
    const size_t at = Fixed + Each * i;
    auto spikes = rest.get<Bytes>(at);
    auto units = rest.get<Integers>(at + 1), runs = rest.get<Integers>(at + 2);
    if (!spikes || !units || !runs)
      return ffi::Error::InvalidArgument("account: a population lacks a buffer");
    auto d = spikes->dimensions();
    if (d[0] != run.batch || starts[i] + d[2] + (again ? 1 : 0) > steps || units->dimensions()[1] != 3 ||
        runs->dimensions()[1] != 3)
      return ffi::Error::InvalidArgument("account: tables and trains do not fit together");
    const int64_t next = i + 1 < starts.size() ? firsts[i + 1] : run.sums - run.beats;
    run.trains.push_back({spikes->typed_data(), int(d[1]), int(d[2]), int(d[3]), int(starts[i]), int(firsts[i]),
                          int(next - firsts[i]), int(runs->dimensions()[0]), units->typed_data(), runs->typed_data()});
  }
  run.totals = totals->typed_data();
  run.single = single->typed_data();
  run.waits = waits->typed_data();
  run.flights = flights->typed_data();
  const int parts = int(std::max<int64_t>(1, std::min<int64_t>(threads.num_threads(), run.batch)));
  share(threads, parts, [&](int p) {
    run.part(int(int64_t(run.batch) * p / parts), int(int64_t(run.batch) * (p + 1) / parts));
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(account, account_run,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .RemainingArgs()
                                  .Ret<Reals>()
                                  .Ret<Reals>()
                                  .Ret<Reals>()
                                  .Ret<Reals>()
                                  .Attr<ffi::Span<const int64_t>>("starts")
                                  .Attr<ffi::Span<const int64_t>>("firsts")
                                  .Attr<int32_t>("steps")
                                  .Attr<int32_t>("period")
                                  .Attr<int32_t>("depth")
                                  .Attr<int32_t>("sent")
                                  .Attr<int32_t>("overlap")
                                  .Attr<int32_t>("again")
                                  .Attr<float>("link")
                                  .Attr<float>("tick"));
