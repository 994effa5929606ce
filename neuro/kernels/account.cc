// XLA's door to `accounts`: a run's spikes in, what they add up to and what its steps wait for out.
#include "account.h"

#include "threads.h"

namespace ffi = xla::ffi;

namespace {

using Bytes = ffi::Buffer<ffi::U8>;
using Integers = ffi::Buffer<ffi::S32>;
using Reals = ffi::Buffer<ffi::F32>;
constexpr int Fixed = 15, Each = 3;  // buffers of all populations together, and of each

// What is known of one sample: its sums and totals, columns of all steps, links among them where they were asked for.
struct Sample {
  std::vector<float> rows, values;  // values [column, step]
  std::vector<uint8_t> known;
};

// A batch in which samples follow each other `period` steps apart: in the steady state a step holds steps of `depth`
// samples.
struct Run {
  std::vector<accounts::Train> trains;
  accounts::Columns columns;
  accounts::Prices prices;
  int batch, steps, period, depth, sums, beats, all;  // sums of spikes and beats; all of them, totals included
  bool again;
  const int32_t* row;           // where every sum and total begins, and where the last ends
  const int32_t *first, *adds;  // of every total, where it begins in the rows that are added up, and these
  const int32_t* beat;          // the step of each of the last sums, which are of no spikes: one each
  const float* causes;          // [sum, event]: borders crossed, every load of all cores
  float *totals, *single, *waits, *flights;

  int stride;  // steps from one column to the next: as far as a vector of any step in flight may reach

  static int whole(int number) { return (number + accounts::Words - 1) / accounts::Words * accounts::Words; }
  int cores() const { return columns.number - columns.links; }

  // Samples first..last; those before that are still under way when the first begins are run again.
  void part(int first, int last) const {
    const int number = std::max(1, depth), events = prices.events(), longest = whole(steps) + 16;
    std::vector<Sample> kept(number, {std::vector<float>(row[all]),
                                      std::vector<float>(size_t(columns.number) * stride + longest),
                                      std::vector<uint8_t>(columns.links)});
    for (Sample& sample : kept)
      for (int k = 0; k < beats; k++) sample.rows[row[sums - beats + k] + beat[k]] = 1;
    std::vector<float> waited(accounts::Words), found(size_t(accounts::Words) * events);
    std::vector<float> under_way(size_t(cores()) * accounts::Words);
    std::vector<Sample*> in_flight(number);  // the one at hand, the one before it, ...
    for (int i = first - (depth ? depth - 1 : 0); i < last; i++) {
      const int sample = (i % batch + batch) % batch;
      for (int d = 0; d < number; d++) in_flight[d] = &kept[((i - d) % number + number) % number];
      Sample& mine = *in_flight[0];
      add(mine, sample);
      if (i < first) continue;
      total(mine.rows.data(), totals + size_t(sample) * (2 + prices.loads));
      float* const sum = single + size_t(sample) * events;
      std::fill_n(sum, events, 0.0f);
      for (int t = 0; t < steps; t += accounts::Words) {
        auto value = [&](int column) { return at(mine, column, t); };
        accounts::slowest(prices, columns, value, [&](int k) { return link(mine, k, t); }, waited.data(), found.data());
        for (int k = 0; k < std::min(accounts::Words, steps - t); k++)
          for (int e = 0; e < events; e++) sum[e] += found[k * events + e];
      }
      for (int t = 0; depth && t < period; t += accounts::Words) {
        auto all_of = [&](auto&& each) {
          accounts::Real value{};
          for (int d = 0; d < depth; d++) value += each(*in_flight[d], d * period + t);
          return value;
        };
        for (int c = 0; c < cores(); c++)
          lanes::store(under_way.data() + size_t(c) * accounts::Words,
                       all_of([&](const Sample& s, int t) { return at(s, c, t); }));
        auto value = [&](int c) { return lanes::load<accounts::Real>(under_way.data() + size_t(c) * accounts::Words); };
        auto carried = [&](int k) { return all_of([&](Sample& s, int t) { return link(s, k, t); }); };
        accounts::slowest(prices, columns, value, carried, waited.data(), found.data());
        for (int k = 0; k < std::min(accounts::Words, period - t); k++) {
          const size_t to = size_t(t + k) * batch + sample;
          waits[to] = waited[k];
          std::copy_n(found.data() + size_t(k) * events, events, flights + to * events);
        }
      }
    }
  }

  // Sums, totals and what cores handle of a sample.
  void add(Sample& to, int sample) const {
    for (const accounts::Train& train : trains) accounts::add_sums(train, sample, again, to.rows.data());
    add_up(to.rows.data());
    std::fill_n(to.values.data(), size_t(cores()) * stride, 0.0f);
    for (int c = 0; c < cores(); c++) columns.take(c, to.rows.data(), to.values.data() + size_t(c) * stride);
    std::fill(to.known.begin(), to.known.end(), 0);
  }

  accounts::Real at(const Sample& sample, int column, int t) const {
    return lanes::load<accounts::Real>(sample.values.data() + size_t(column) * stride + t);
  }

  // What a link carries, found when it is first asked for.
  accounts::Real link(Sample& sample, int which, int t) const {
    const int column = cores() + which;
    if (!sample.known[which]) {
      float* const to = sample.values.data() + size_t(column) * stride;
      std::fill_n(to, stride, 0.0f);
      columns.take(column, sample.rows.data(), to);
      sample.known[which] = true;
    }
    return at(sample, column, t);
  }

  // Totals of sums that mean the same.
  void add_up(float* rows) const {
    for (int k = sums; k < all; k++)
      for (int t = 0; t < row[k + 1] - row[k]; t += accounts::Words) {
        accounts::Real value{};
        for (int i = first[k - sums]; i < first[k - sums + 1]; i++)
          value += lanes::load<accounts::Real>(rows + adds[i] + t);
        lanes::store(rows + row[k] + t, value);
      }
  }

  // Borders crossed, and every load of all cores, over all steps: of spikes the borders, of totals the loads, of beats
  // both.
  void total(const float* rows, float* to) const {
    const int number = 2 + prices.loads, spikes = sums - beats;
    std::vector<accounts::Real> found(number);
    auto add = [&](int s, int begin, int end) {
      accounts::Real sum{};
      for (int t = row[s]; t < row[s + 1]; t += accounts::Words) sum += lanes::load<accounts::Real>(rows + t);
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
  auto entry = rest.get<Integers>(9);
  auto amount = rest.get<Reals>(10);
  auto bounds = rest.get<Integers>(11), bounding = rest.get<Integers>(12);
  auto times = rest.get<Reals>(13);
  auto row = rest.get<Integers>(14);
  if (!load || !sweep || !causes || !of_core || !beat || !total || !adds || !first || !segments || !entry || !amount ||
      !bounds || !bounding || !times || !row)
    return ffi::Error::InvalidArgument("account: prices or columns lack");
  Run run{};
  const int cores = int(sweep->dimensions()[1]), loads = int(load->element_count());
  run.prices = {cores, loads, sent, bool(overlap), link, tick, load->typed_data(), sweep->typed_data(),
                sweep->typed_data() + cores, of_core->typed_data(), bounds->typed_data(), bounding->typed_data(),
                times->typed_data()};
  run.columns = {int(first->element_count()) - 1, links, first->typed_data(), segments->typed_data(),
                 entry->typed_data(), amount->typed_data(), {}};
  run.batch = int(totals->dimensions()[0]);
  run.steps = steps;
  run.period = period;
  run.depth = depth;
  run.stride = std::max(Run::whole(steps), (depth - 1) * period + Run::whole(period));
  run.sums = int(causes->dimensions()[0] - total->element_count() + 1);
  run.beats = int(beat->element_count());
  run.all = run.sums + int(total->element_count()) - 1;
  run.row = row->typed_data();
  run.first = total->typed_data();
  run.adds = adds->typed_data();
  run.again = again;
  run.beat = beat->typed_data();
  run.causes = causes->typed_data();
  if (int(causes->dimensions()[1]) != 2 + loads || of_core->element_count() != size_t(loads) * cores ||
      single->dimensions()[1] != run.prices.events() || bounds->element_count() != size_t(links) + 1 ||
      row->element_count() != size_t(run.all) + 1 ||
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
    const int begin = run.row[firsts[i]], pitch = run.row[firsts[i] + 1] - begin;
    if (pitch % accounts::Words || pitch < d[2] + (again ? 1 : 0))
      return ffi::Error::InvalidArgument("account: rows are too short");
    run.trains.push_back({spikes->typed_data(), int(d[1]), int(d[2]), int(d[3]), int(starts[i]), begin, pitch,
                          int(next - firsts[i]), int(runs->dimensions()[0]), units->typed_data(), runs->typed_data()});
    run.columns.runs.push_back({int(starts[i]), pitch});
  }
  const int clock = run.sums - run.beats;
  run.columns.runs.push_back({0, run.row[clock + 1] - run.row[clock]});  // what comes of no spikes
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
