// XLA's door to `accounts`: a run's spikes in, what they add up to and what its steps wait for out.
#include "account.h"

#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;
using Reals = ffi::Buffer<ffi::F32>;
constexpr int Buffers = 7;  // of a population

// A batch in which samples follow each other `period` steps apart: in the steady state a step holds steps of `depth`
// samples.
struct Run {
  std::vector<accounts::Effects> all;
  accounts::Prices prices;
  int batch, steps, period, depth;
  bool again;
  const float* clock;  // what a row holds before any spike [step, number], null for nothing
  float *totals, *single, *waits, *flights;

  // Samples first..last; those before that are still under way when the first begins are run again.
  void part(int first, int last) const {
    const int width = prices.width(), events = prices.events();
    std::vector<float> rows(size_t(steps) * width), under_way(size_t(depth) * period * width), one(events);
    auto flight = [&](int i) { return under_way.data() + size_t(i % depth) * period * width; };
    for (int i = first - (depth ? depth - 1 : 0); i < last; i++) {
      const int sample = (i % batch + batch) % batch;
      if (clock)
        memcpy(rows.data(), clock, rows.size() * 4);
      else
        std::fill(rows.begin(), rows.end(), 0.0f);
      for (const accounts::Effects& effects : all) accounts::add_effects(effects, sample, width, again, rows.data());
      if (i >= first) {
        total(rows.data(), totals + size_t(sample) * (2 + prices.loads));
        float* sum = single + size_t(sample) * events;
        std::fill(sum, sum + events, 0.0f);
        for (int t = 0; t < steps; t++) {
          accounts::slowest(prices, rows.data() + size_t(t) * width, one.data());
          for (int e = 0; e < events; e++) sum[e] += one[e];
        }
      }
      for (int d = 0; d < depth; d++)
        if (i + d >= first && i + d < last) {
          const int from = d * period, number = std::min(period, steps - from) * width;
          const float* row = rows.data() + size_t(from) * width;
          float* to = flight(i + d);
          for (int k = 0; k < number; k++) to[k] += row[k];
        }
      if (!depth || i < first) continue;
      float* done = flight(i);
      for (int t = 0; t < period; t++) {
        const size_t at = size_t(t) * batch + sample;
        waits[at] = accounts::slowest(prices, done + size_t(t) * width, flights + at * events);
      }
      std::fill(done, done + size_t(period) * width, 0.0f);
    }
  }

  // Borders crossed, and every load of all cores, over all steps.
  void total(const float* rows, float* to) const {
    const size_t width = prices.width();
    for (int k = 0; k < 2; k++) {
      to[k] = 0;
      for (int t = 0; t < steps; t++) to[k] += rows[t * width + k];
    }
    for (int l = 0; l < prices.loads; l++) {
      accounts::Real sum{};
      for (int t = 0; t < steps; t++) {
        const float* row = rows + t * width + accounts::Words + size_t(l) * prices.cores;
        for (int c = 0; c < prices.cores; c += accounts::Words) sum += lanes::load<accounts::Real>(row + c);
      }
      to[2 + l] = lanes::total(sum);
    }
  }
};

ffi::Error account_run(ffi::ThreadPool threads, ffi::RemainingArgs rest, ffi::Result<Reals> totals,
                       ffi::Result<Reals> single, ffi::Result<Reals> waits, ffi::Result<Reals> flights,
                       ffi::Span<const int64_t> starts, int32_t steps, int32_t period, int32_t depth, int32_t sent,
                       int32_t links, int32_t overlap, int32_t again, float link, float tick) {
  auto load = rest.get<Reals>(0), sweep = rest.get<Reals>(1), clock = rest.get<Reals>(2);
  if (!load.has_value() || !sweep.has_value() || !clock.has_value())
    return ffi::Error::InvalidArgument("account: prices lack");
  Run run{};
  const int cores = int(sweep->dimensions()[1]);
  run.prices = {cores, int(load->element_count()), sent, links, bool(overlap), link, tick, load->typed_data(),
                sweep->typed_data(), sweep->typed_data() + cores};
  run.batch = int(totals->dimensions()[0]);
  run.steps = steps;
  run.period = period;
  run.depth = depth;
  run.again = again;
  const int width = run.prices.width();
  run.clock = clock->element_count() == size_t(steps) * width ? clock->typed_data() : nullptr;
  if (cores % accounts::Words || links % accounts::Words || single->dimensions()[1] != run.prices.events() ||
      (depth && (waits->dimensions()[0] != period || depth * period < steps)))
    return ffi::Error::InvalidArgument("account: rows and results do not fit together");
  for (size_t i = 0; i < starts.size(); i++) {
    const size_t at = 3 + Buffers * i;
    auto spikes = rest.get<Bytes>(at);
    auto units = rest.get<Integers>(at + 1), order = rest.get<Integers>(at + 2), blocks = rest.get<Integers>(at + 3);
    auto common = rest.get<Reals>(at + 4);
    auto row_of = rest.get<Integers>(at + 5);
    auto rows = rest.get<Bytes>(at + 6);
    if (!spikes.has_value() || !units.has_value() || !order.has_value() || !blocks.has_value() ||
        !common.has_value() || !row_of.has_value() || !rows.has_value())
      return ffi::Error::InvalidArgument("account: a population lacks a buffer");
    auto d = spikes->dimensions();
    const int64_t number = units->dimensions()[0], places = order->element_count();
    if (d[0] != run.batch || starts[i] + d[2] + (again ? 1 : 0) > steps || units->dimensions()[1] != 6 ||
        row_of->element_count() != size_t(64 * number) || places % accounts::Block ||
        common->dimensions()[1] != accounts::Block)
      return ffi::Error::InvalidArgument("account: tables and trains do not fit together");
    run.all.push_back({spikes->typed_data(), int(d[1]), int(d[2]), int(d[3]), int(starts[i]), int(number), int(places),
                       units->typed_data(), order->typed_data(), blocks->typed_data(), common->typed_data(),
                       row_of->typed_data(), rows->typed_data()});
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
                                  .Attr<int32_t>("steps")
                                  .Attr<int32_t>("period")
                                  .Attr<int32_t>("depth")
                                  .Attr<int32_t>("sent")
                                  .Attr<int32_t>("links")
                                  .Attr<int32_t>("overlap")
                                  .Attr<int32_t>("again")
                                  .Attr<float>("link")
                                  .Attr<float>("tick"));
