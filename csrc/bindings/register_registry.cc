#include <pybind11/stl.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "bindings/module.h"
#include "kernels/registry.h"

namespace devit {

namespace py = pybind11;
using namespace py::literals;

namespace {

std::vector<std::string> isas() {
  const CpuFeatures cpu = detect_cpu_features();
  std::vector<std::string> names;
  for (const KernelTable& table : kernel_tables()) {
    if (table.runs_on(cpu)) names.emplace_back(table.isa);
  }
  return names;
}

std::map<std::string, bool> cpu_features() {
  const CpuFeatures cpu = detect_cpu_features();
  return {{"avx2", cpu.avx2},         {"fma", cpu.fma},       {"f16c", cpu.f16c},
          {"avx_vnni", cpu.avx_vnni}, {"avx512", cpu.avx512}, {"avx512_vnni", cpu.avx512_vnni},
          {"neon", cpu.neon},         {"fp16", cpu.fp16},     {"i8mm", cpu.i8mm},
          {"dotprod", cpu.dotprod}};
}

std::string select_isa(const std::string& name) { return std::string(kernels(name).isa); }

double fma_peak(const std::string& isa) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kRounds = 100'000;
  constexpr std::chrono::milliseconds kDuration{50};
  const KernelTable& table = kernels(isa);
  const py::gil_scoped_release nogil;
  float sink = 0.0f;
  double best = 0.0;  // the peak of many short runs: an interrupted one does not count
  const auto end = Clock::now() + kDuration;
  while (Clock::now() < end) {
    const auto start = Clock::now();
    const double operations = table.fma_peak_f32(kRounds, &sink);
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, operations / seconds.count());
  }
  return best / 1e9;
}

}  // namespace

void register_registry(py::module_& m) {
  m.def("isas", &isas, "Instruction sets that run here, best first.");
  m.def("cpu_features", &cpu_features, "What this CPU offers, by name.");
  m.def("select_isa", &select_isa, "name"_a = "", R"doc(
The instruction set that ``name`` selects; "" is DEVIT_ISA if set, else the best one.

Raises:
    ValueError: it does not run here; the message lists those that do.
)doc");
  m.def("fma_peak", &fma_peak, "isa"_a = "", R"doc(
Measure the peak rate of float32 multiply-adds of one thread, in GFLOP/s, for about 50 ms.
)doc");
}

}  // namespace devit
