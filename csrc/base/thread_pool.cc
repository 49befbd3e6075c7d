#include "base/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#if defined(__linux__)
#include <sched.h>
#endif

namespace devit {
namespace {

// About as long as the kernel takes to wake a thread: polling longer would not pay.
constexpr std::chrono::microseconds kPatience{30};

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether the condition held within the time that polling is worth.
template <typename Condition>
bool poll(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    relax();
  }
  return true;
}

}  // namespace

std::size_t available_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    return static_cast<std::size_t>(std::max(CPU_COUNT(&set), 1));
  }
#endif
  return std::max<std::size_t>(std::thread::hardware_concurrency(), 1);
}

ThreadPool::ThreadPool(std::size_t threads) : owner_(getpid()) {
  try {
    for (std::size_t thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { work(thread); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  if (forked()) {  // there is nobody to join
    for (std::thread& worker : workers_) worker.detach();
    // The threads that used it stayed in the parent, so nobody may free it here.
    static_cast<void>(crew_.release());  // NOLINT(bugprone-unused-return-value)
    return;
  }
  {
    const std::lock_guard lock(crew_->mutex);
    crew_->stopping = true;
  }
  crew_->start.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

bool ThreadPool::forked() const { return owner_ != getpid(); }

void ThreadPool::run(std::size_t count, const void* body, Call call) {
  if (workers_.empty() || count <= 1) {
    for (std::size_t index = 0; index < count; ++index) call(body, index, 0);
    return;
  }
  if (forked()) throw std::runtime_error("made before a fork: make it again in this process");
  count_ = count;
  body_ = body;
  call_ = call;
  next_.store(0);
  crew_->state += kLoop;
  {
    const std::lock_guard lock(crew_->mutex);  // whoever falls asleep just now has to be woken too
  }
  crew_->start.notify_all();
  drain(0);
  crew_->state += kLoop;
  const auto left = [this] { return crew_->state % kLoop == 0; };
  if (poll(left)) return;
  std::unique_lock lock(crew_->mutex);
  crew_->done.wait(lock, left);
}

void ThreadPool::drain(std::size_t thread) {
  for (std::size_t index = next_.fetch_add(1); index < count_; index = next_.fetch_add(1)) {
    call_(body_, index, thread);
  }
}

bool ThreadPool::join(std::uint64_t& seen) {
  std::uint64_t state = crew_->state;
  do {
    if (!is_open(state) || state / kLoop == seen) return false;
  } while (!crew_->state.compare_exchange_weak(state, state + 1));
  seen = state / kLoop;
  return true;
}

void ThreadPool::work(std::size_t thread) {
  for (std::uint64_t seen = 0;;) {
    if (!poll([&] { return join(seen); })) {
      std::unique_lock lock(crew_->mutex);
      bool joined = false;
      crew_->start.wait(lock, [&] { return crew_->stopping || (joined = join(seen)); });
      if (!joined) return;
    }
    drain(thread);
    if (const std::uint64_t state = --crew_->state; state % kLoop == 0 && !is_open(state)) {
      const std::lock_guard lock(crew_->mutex);
      crew_->done.notify_one();
    }
  }
}

}  // namespace devit
