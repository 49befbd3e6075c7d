// QEMU plugin: counts the AArch64 instructions that run between two markers, by kind.
//
// The markers are hint #112 and hint #113, which do nothing on any CPU (see marks.c). After each
// marked stretch one line of JSON, {"all": N, "fmla": N, ...}, is appended to the file `out`.
// Counts are of whole translation blocks: the two that hold the markers add a few instructions.
//
//   cc -shared -fPIC -O2 $(pkg-config --cflags glib-2.0) -I QEMU/include/qemu instructions.c
//   qemu-aarch64 -plugin ./instructions.so,out=counts.json PROGRAM
#include <inttypes.h>
#include <qemu-plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

// Encodings: Arm Architecture Reference Manual, C4.1; `mask` leaves out Q, registers and lanes.
typedef struct {
  uint32_t mask;
  uint32_t value;
} Pattern;

typedef struct {
  const char* name;
  Pattern patterns[4];  // ends with an empty mask, or is full
} Kind;

enum { kAll, kLoad, kStore, kFirstPattern };

static const Kind kKinds[] = {
    [kAll] = {"all", {{0}}},
    [kLoad] = {"load", {{0}}},
    [kStore] = {"store", {{0}}},
    // Multiply-adds of float32 and of float16, by vector and by lane.
    {"fmla", {{0xbfe0fc00, 0x0e20cc00}, {0xbfc0f400, 0x0f801000}}},
    {"fmla16", {{0xbfe0fc00, 0x0e400c00}, {0xbfc0f400, 0x0f001000}}},
    // sdot and udot by vector and by lane, usdot by vector and by lane.
    {"dot",
     {{0x9fe0fc00, 0x0e809400},
      {0x9fc0f400, 0x0f80e000},
      {0xbfe0fc00, 0x0e809c00},
      {0xbfc0f400, 0x0f80f000}}},
    // smmla, ummla, usmmla.
    {"mmla", {{0xdfe0fc00, 0x4e80a400}, {0xffe0fc00, 0x4e80ac00}}},
    // smull, smlal, umull, umlal, by vector and by lane.
    {"mull", {{0x9f20bc00, 0x0e208000}, {0x9f007400, 0x0f002000}}},
};
enum { kKindCount = sizeof kKinds / sizeof kKinds[0] };

enum { kStartMarker = 0xd5032e1f, kStopMarker = 0xd5032e3f };

static qemu_plugin_u64 counters[kKindCount];
static uint64_t at_start[kKindCount];
static const char* out_path;

static bool matches(const Kind* kind, uint32_t code) {
  for (size_t i = 0; i < 4 && kind->patterns[i].mask != 0; ++i) {
    if ((code & kind->patterns[i].mask) == kind->patterns[i].value) return true;
  }
  return false;
}

// C4.1.94: what the group "loads and stores" does is told by several fields.
static size_t memory_kind(uint32_t code) {
  const bool literal = (code & 0x3b000000) == 0x18000000;
  const bool sign_extends = (code & 0x3c800000) == 0x38800000;
  const bool load_bit = (code >> 22 & 1) != 0;
  return literal || sign_extends || load_bit ? kLoad : kStore;
}

// The index of the one kind beside kAll, or kAll if it is none of them.
static size_t kind_of(uint32_t code) {
  if ((code & 0x0a000000) == 0x08000000) return memory_kind(code);
  for (size_t kind = kFirstPattern; kind < kKindCount; ++kind) {
    if (matches(&kKinds[kind], code)) return kind;
  }
  return kAll;
}

static void start(unsigned int cpu, void* data) {
  (void)cpu, (void)data;
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    at_start[kind] = qemu_plugin_u64_sum(counters[kind]);
  }
}

static void stop(unsigned int cpu, void* data) {
  (void)cpu, (void)data;
  FILE* out = fopen(out_path, "a");
  if (out == NULL) return;
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    fprintf(out, "%s\"%s\": %" PRIu64, kind == 0 ? "{" : ", ", kKinds[kind].name,
            qemu_plugin_u64_sum(counters[kind]) - at_start[kind]);
  }
  fputs("}\n", out);
  fclose(out);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
  (void)id;
  uint64_t counts[kKindCount] = {0};
  const size_t size = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < size; ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(block, i);
    uint32_t code = 0;
    qemu_plugin_insn_data(instruction, &code, sizeof code);
    ++counts[kAll];
    const size_t kind = kind_of(code);
    if (kind != kAll) ++counts[kind];
    if (code == kStartMarker || code == kStopMarker) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, code == kStartMarker ? start : stop,
                                             QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
  }
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    if (counts[kind] == 0) continue;
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, QEMU_PLUGIN_INLINE_ADD_U64,
                                                      counters[kind], counts[kind]);
  }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                           char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
    fputs("instructions: needs one argument, out=FILE\n", stderr);
    return -1;
  }
  out_path = strdup(argv[0] + 4);
  struct qemu_plugin_scoreboard* board = qemu_plugin_scoreboard_new(sizeof(uint64_t) * kKindCount);
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    counters[kind].score = board;
    counters[kind].offset = kind * sizeof(uint64_t);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
