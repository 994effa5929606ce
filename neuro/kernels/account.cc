// XLA's door to `accounts`: a run's spikes in, what they add up to and what its steps wait for out.
#include "account.h"

#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;
using Reals = ffi::Buffer<ffi::F32>;
constexpr int Fixed = 14, Each = 3;  // buffers of all populations together, and of each
constexpr int Most = 4;              // vectors of steps at a time

// Room for what is found of a few vectors of steps: columns, what each step waits for, its events; live populations.
struct Found {
  std::vector<float> values, waits, events;
  std::vector<uint8_t> live;
};

// A batch in which samples follow each other `period` steps apart: in the steady state a step holds steps of `depth`
// samples.
struct Run {
  std::vector<accounts::Train> trains;
  accounts::Columns columns;
  accounts::Prices prices;
  int batch, steps, period, depth, sums, beats, all;  // sums of spikes and beats; all of them, totals included
  bool again;
  const int32_t *first, *adds;  // of every total, where it begins in the sums that are added up
  const int32_t* beat;          // the step of each of the last sums, which are of no spikes: one each
  const float* causes;          // [sum, event]: borders crossed, every load of all cores
  float *totals, *single, *waits, *flights;

  static int whole(int number) { return (number + accounts::Words - 1) / accounts::Words * accounts::Words; }

  // Samples first..last; those before that are still under way when the first begins are run again.
  void part(int first, int last) const {
    const int stride = whole(steps), pitch = whole(period), events = prices.events();
    std::vector<float> rows(size_t(all) * stride + accounts::Words), under_way(size_t(depth) * all * pitch);
    Found found{std::vector<float>(size_t(columns.number) * Most * accounts::Words),
                std::vector<float>(accounts::Words), std::vector<float>(size_t(accounts::Words) * events),
                std::vector<uint8_t>(trains.size() + 1)};
    auto flight = [&](int i) { return under_way.data() + size_t(i % depth) * all * pitch; };
    for (int k = 0; k < beats; k++) rows[size_t(sums - beats + k) * stride + beat[k]] = 1;
    for (int i = first - (depth ? depth - 1 : 0); i < last; i++) {
      const int sample = (i % batch + batch) % batch;
      for (const accounts::Train& train : trains) accounts::add_sums(train, sample, again, rows.data(), stride);
      add_up(rows.data(), stride);
      if (i >= first) {
        total(rows.data(), stride, totals + size_t(sample) * (2 + prices.loads));
        float* sum = single + size_t(sample) * events;
        std::fill(sum, sum + events, 0.0f);
        waiting(rows.data(), stride, steps, false, found, [&](int, float, const float* of) {
          for (int e = 0; e < events; e++) sum[e] += of[e];
        });
      }
      for (int d = 0; d < depth; d++)
        if (i + d >= first && i + d < last) {
          const int from = d * period, number = std::min(period, steps - from);
          float* to = flight(i + d);
          for (int s = 0; s < all; s++) under(rows.data() + size_t(s) * stride + from, number, to + size_t(s) * pitch);
        }
      if (!depth || i < first) continue;
      float* done = flight(i);
      waiting(done, pitch, period, true, found, [&](int t, float seconds, const float* of) {
        const size_t at = size_t(t) * batch + sample;
        waits[at] = seconds;
        std::copy_n(of, events, flights + at * events);
      });
      std::fill_n(done, size_t(all) * pitch, 0.0f);
    }
  }

  // What the sums of a sample make `number` steps wait for: each(step, seconds, events). all: every population may
  // spike in every step; else each in its own.
  template <class F>
  void waiting(const float* sums, int stride, int number, bool all, Found& found, F&& each) const {
    for (int t = 0; t < number; t += Most * accounts::Words) {
      const int vectors = std::min(Most, (number - t + accounts::Words - 1) / accounts::Words);
      const int end = t + vectors * accounts::Words;
      for (size_t p = 0; p < trains.size(); p++)
        found.live[p] = all || (trains[p].start < end && t < trains[p].start + trains[p].steps + again);
      found.live.back() = true;  // what comes of no spikes
      const accounts::Steps here{sums + t, stride, vectors, found.live.data(), found.values.data()};
      switch (vectors) {
        case 1: take<1>(here); break;
        case 2: take<2>(here); break;
        case 3: take<3>(here); break;
        default: take<Most>(here);
      }
      for (int v = 0; v < vectors; v++) {
        const int from = t + v * accounts::Words;
        accounts::slowest(prices, columns, here, v, found.waits.data(), found.events.data());
        for (int k = 0; k < std::min(accounts::Words, number - from); k++)
          each(from + k, found.waits[k], found.events.data() + size_t(k) * prices.events());
      }
    }
  }

  template <int Vectors>
  void take(const accounts::Steps& here) const {
    for (int c = 0; c < columns.number - columns.links; c++)
      columns.take<Vectors>(c, here.sums, here.stride, here.live, here.at(c, 0));
  }

  // Adds the first `number` of a row whose vectors may go on to another, which has at least one behind it.
  static void under(const float* from, int number, float* to) {
    int t = 0;
    for (; t + accounts::Words <= number; t += accounts::Words)
      accounts::add(to + t, lanes::load<accounts::Real>(from + t));
    if (t == number) return;
    const auto rest = lanes::load<accounts::Word>(from + t) & accounts::first(number - t);
    accounts::add(to + t, (accounts::Real)rest);
  }

  // Totals of sums that mean the same.
  void add_up(float* rows, int stride) const {
    float* to = rows + size_t(sums) * stride;
    for (int k = sums; k < all; k++, to += stride)
      for (int t = 0; t < stride; t += accounts::Words) {
        accounts::Real value{};
        for (int i = first[k - sums]; i < first[k - sums + 1]; i++)
          value += lanes::load<accounts::Real>(rows + size_t(adds[i]) * stride + t);
        lanes::store(to + t, value);
      }
  }

  // Borders crossed, and every load of all cores, over all steps: of spikes the borders, of totals the loads, of beats
  // both.
  void total(const float* rows, int stride, float* to) const {
    const int number = 2 + prices.loads, spikes = sums - beats;
    std::vector<accounts::Real> found(number);
    auto add = [&](int s, int begin, int end) {
      accounts::Real sum{};
      for (int t = 0; t < stride; t += accounts::Words)
        sum += lanes::load<accounts::Real>(rows + size_t(s) * stride + t);
      for (int k = begin; k < end; k++) found[k] += sum * lanes::splat<accounts::Real>(causes[size_t(s) * number + k]);
    };
    for (int s = 0; s < spikes; s++) add(s, 0, 2);
    for (int s = spikes; s < sums; s++) add(s, 0, number);
    for (int s = sums; s < all; s++) add(s, 2, number);
    for (int k = 0; k < number; k++) to[k] = lanes::total(found[k]);
  }
};

ffi::Error account_run(ffi::ThreadPool threads, ffi::RemainingArgs rest, ffi::Result<Reals> totals,
                       ffi::Result<Reals> single, ffi::Result<Reals> waits, ffi::Result<Reals> flights,
                       ffi::Span<const int64_t> starts, ffi::Span<const int64_t> firsts, int32_t steps,
                       int32_t period, int32_t links, int32_t depth, int32_t sent, int32_t overlap, int32_t again,
                       float link, float tick) {
  if (rest.size() != Fixed + Each * starts.size()) return ffi::Error::InvalidArgument("account: a buffer lacks");
  auto load = rest.get<Reals>(0), sweep = rest.get<Reals>(1), causes = rest.get<Reals>(2);
  auto of_core = rest.get<Integers>(3), beat = rest.get<Integers>(4), total = rest.get<Integers>(5);
  auto adds = rest.get<Integers>(6), first = rest.get<Integers>(7), segments = rest.get<Integers>(8);
  auto sum = rest.get<Integers>(9);
  auto amount = rest.get<Reals>(10);
  auto bounds = rest.get<Integers>(11), bounding = rest.get<Integers>(12);
  auto times = rest.get<Reals>(13);
  if (!load || !sweep || !causes || !of_core || !beat || !total || !adds || !first || !segments || !sum || !amount ||
      !bounds || !bounding || !times)
    return ffi::Error::InvalidArgument("account: prices or columns lack");
  Run run{};
  const int cores = int(sweep->dimensions()[1]), loads = int(load->element_count());
  run.prices = {cores, loads, sent, bool(overlap), link, tick, load->typed_data(), sweep->typed_data(),
                sweep->typed_data() + cores, of_core->typed_data(), bounds->typed_data(), bounding->typed_data(),
                times->typed_data()};
  run.columns = {int(first->element_count()) - 1, links, first->typed_data(), segments->typed_data(),
                 sum->typed_data(), amount->typed_data()};
  run.batch = int(totals->dimensions()[0]);
  run.steps = steps;
  run.period = period;
  run.depth = depth;
  run.sums = int(causes->dimensions()[0] - total->element_count() + 1);
  run.beats = int(beat->element_count());
  run.all = run.sums + int(total->element_count()) - 1;
  run.first = total->typed_data();
  run.adds = adds->typed_data();
  run.again = again;
  run.beat = beat->typed_data();
  run.causes = causes->typed_data();
  if (int(causes->dimensions()[1]) != 2 + loads || of_core->element_count() != size_t(loads) * cores ||
      single->dimensions()[1] != run.prices.events() || bounds->element_count() != size_t(links) + 1 ||
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
                                  .Attr<int32_t>("links")
                                  .Attr<int32_t>("depth")
                                  .Attr<int32_t>("sent")
                                  .Attr<int32_t>("overlap")
                                  .Attr<int32_t>("again")
                                  .Attr<float>("link")
                                  .Attr<float>("tick"));
