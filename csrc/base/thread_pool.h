#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace devit {

// CPUs that this process may run on; at least 1.
std::size_t available_cpus();

// A fixed crew that runs the indices of a loop; the calling thread is one of the crew.
//
// Indices are handed out one by one, so a slow core delays a loop by one index at most. A worker
// that gets no core while a loop runs takes no part in it, and nobody waits for it: on a busy
// machine the caller runs the loop alone. Between the loops of one image a worker polls for some
// microseconds, then it sleeps in the kernel. One loop at a time: callers serialise.
class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const { return workers_.size() + 1; }

  // Calls body(index, thread) for each index in [0, count), thread < threads(), and returns when
  // all are done. `body` must not throw. Allocates nothing.
  // Throws std::runtime_error in a process forked after construction: the workers stayed behind.
  template <typename Body>
  void parallel_for(std::size_t count, const Body& body) {
    run(count, &body, [](const void* context, std::size_t index, std::size_t thread) {
      (*static_cast<const Body*>(context))(index, thread);
    });
  }

 private:
  using Call = void (*)(const void* body, std::size_t index, std::size_t thread);

  void run(std::size_t count, const void* body, Call call);
  void drain(std::size_t thread);
  void work(std::size_t thread);
  // Takes part in the loop in progress, unless there is none or it is the one that was seen last.
  bool join(std::uint64_t& seen);
  void stop();
  bool forked() const;

  // The loop in progress: written while no loop runs and no worker is inside.
  std::size_t count_ = 0;
  const void* body_ = nullptr;
  Call call_ = nullptr;
  std::atomic<std::size_t> next_{0};

  // A loop begins and ends by adding this to the state, so that the quotient is odd while it runs;
  // the rest is the number of workers that take part in it.
  static constexpr std::uint64_t kLoop = 1 << 16;
  static bool is_open(std::uint64_t state) { return state / kLoop % 2 == 1; }

  // On the heap, so that a forked child can leave it behind: destroying a condition variable waits
  // for its sleepers, and the child has none.
  struct Crew {
    std::atomic<std::uint64_t> state = 0;
    std::mutex mutex;  // held to fall asleep and to wake
    std::condition_variable start;
    std::condition_variable done;
    bool stopping = false;
  };
  std::unique_ptr<Crew> crew_ = std::make_unique<Crew>();

  long owner_;  // process id
  std::vector<std::thread> workers_;
};

}  // namespace devit
