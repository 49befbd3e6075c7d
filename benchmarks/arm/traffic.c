// QEMU plugin: bytes that one core moves to and from memory, by a model of the caches of a Raspberry
// Pi Zero 2 W (Cortex-A53): 32 kB of data beside the core in 4 ways, 512 kB behind it in 16 ways,
// lines of 64 bytes, both write back and give up what was not used for longest.
//
// Caches are followed from the program's start, so what is counted finds them warm. After each
// stretch between the markers of marks.c one line of JSON, {"read": N, "written": N}, is appended to
// the file `out`: bytes of lines that came from memory and that went back to it.
// Addresses are the program's; a real second cache sees physical ones. Instructions are not counted,
// nor is anything fetched that the program does not ask for. Needs a program of one thread.
//
//   cc -shared -fPIC -O2 $(pkg-config --cflags glib-2.0) -I QEMU/include/qemu traffic.c
//   qemu-aarch64 -plugin ./traffic.so,out=traffic.json PROGRAM
#include <inttypes.h>
#include <qemu-plugin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum { kLineBytes = 64, kMaxWays = 16, kMaxSets = 512 };
enum { kStartMarker = 0xd5032e1f, kStopMarker = 0xd5032e3f };

typedef struct {
  uint64_t number;  // address / kLineBytes, plus 1: 0 is an empty place
  bool dirty;
} Line;

typedef struct {
  size_t sets;
  size_t ways;
  Line lines[kMaxSets][kMaxWays];  // in each set, last used first
} Cache;

static Cache near_core = {.sets = 128, .ways = 4};
static Cache behind_it = {.sets = 512, .ways = 16};
static uint64_t lines_read, lines_written;
static uint64_t read_at_start, written_at_start;
static const char* out_path;

// Makes `number` the line of its set that was used last. Whether it was there; if not, `victim` is
// what had to go.
static bool use(Cache* cache, uint64_t number, bool dirty, Line* victim) {
  Line* set = cache->lines[number % cache->sets];
  size_t way = 0;
  while (way < cache->ways - 1 && set[way].number != number) ++way;
  const Line last = set[way];
  const bool found = last.number == number;
  memmove(set + 1, set, way * sizeof(Line));
  set[0] = (Line){number, dirty || (found && last.dirty)};
  if (!found) *victim = last;
  return found;
}

static void use_behind(uint64_t number, bool dirty) {
  Line victim;
  if (use(&behind_it, number, dirty, &victim)) return;
  if (!dirty) ++lines_read;  // a dirty line comes whole, from the cache before
  if (victim.dirty) ++lines_written;
}

static void touch(uint64_t number, bool store) {
  Line victim;
  if (use(&near_core, number, store, &victim)) return;
  if (victim.dirty) use_behind(victim.number, true);
  use_behind(number, false);
}

static void access_memory(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address,
                          void* data) {
  (void)cpu, (void)data;
  const bool store = qemu_plugin_mem_is_store(info);
  const uint64_t end = address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info)) - 1;
  for (uint64_t line = address / kLineBytes; line <= end / kLineBytes; ++line) {
    touch(line + 1, store);
  }
}

static void start(unsigned int cpu, void* data) {
  (void)cpu, (void)data;
  read_at_start = lines_read;
  written_at_start = lines_written;
}

static void stop(unsigned int cpu, void* data) {
  (void)cpu, (void)data;
  FILE* out = fopen(out_path, "a");
  if (out == NULL) return;
  fprintf(out, "{\"read\": %" PRIu64 ", \"written\": %" PRIu64 "}\n",
          (lines_read - read_at_start) * kLineBytes, (lines_written - written_at_start) * kLineBytes);
  fclose(out);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
  (void)id;
  const size_t size = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < size; ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(block, i);
    qemu_plugin_register_vcpu_mem_cb(instruction, access_memory, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, NULL);
    uint32_t code = 0;
    qemu_plugin_insn_data(instruction, &code, sizeof code);
    if (code == kStartMarker || code == kStopMarker) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, code == kStartMarker ? start : stop,
                                             QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
  }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                           char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
    fputs("traffic: needs one argument, out=FILE\n", stderr);
    return -1;
  }
  out_path = strdup(argv[0] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
