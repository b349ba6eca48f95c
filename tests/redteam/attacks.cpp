// SPDX-License-Identifier: Apache-2.0
#include "attacks.h"

#include <stdexcept>

namespace crinn::harness::testing {
namespace {

constexpr char kQuery[] = "out.clear();";
constexpr char kAnswer[] = "const int count = std::min";
constexpr char kLast[] = "return count;";

std::vector<Attack> at_a_query() {
  using enum Outcome;
  const auto query = [](const char* name, const char* prologue, const char* code, Outcome outcome,
                        const char* evidence, bool banned = true) {
    return Attack{name, Role::kSearch, prologue, kQuery, code, outcome, evidence, banned};
  };
  return {
      query("InfiniteLoop", "inline int spin = 1;", "for (; spin != 0; spin |= 1) {}", kTimedOut,
            "no answer within", false),
      query("ForkBomb", "#include <unistd.h>", "while (fork() >= 0) {}", kCrashed,
            "forbidden system call clone"),
      query("VforkExec", "#include <unistd.h>",
            "char* none[] = {nullptr}; execve(\"/bin/sh\", none, none);", kCrashed,
            "forbidden system call execve"),
      query("Thread", "#include <thread>", "std::thread([] {}).join();", kCrashed,
            "forbidden system call"),
      query("MemoryHog", "inline std::vector<std::vector<char>> hog;",
            "while (true) hog.emplace_back(std::size_t{1} << 26, 'x');", kOverCap,
            "out of the memory", false),
      query("WritesAFile", "#include <fcntl.h>",
            "::open(\"/tmp/crinn-attack\", O_CREAT | O_WRONLY, 0600);", kCrashed,
            "forbidden system call openat"),
      query("ReadsAFile", "#include <fcntl.h>", "::open(\"/etc/passwd\", O_RDONLY);", kCrashed,
            "forbidden system call openat"),
      query("Connects", "#include <sys/socket.h>", "::socket(AF_INET, SOCK_STREAM, 0);", kCrashed,
            "forbidden system call socket"),
      query("ReadsTheParentsMemory", "#include <fcntl.h>\n#include <unistd.h>",
            "::open(\"/proc/1/mem\", O_RDWR);", kCrashed, "forbidden system call openat"),
      query("ReadsTheParentsPid", "#include <unistd.h>", "if (getppid() > 0) out.clear();",
            kCrashed, "forbidden system call getppid", false),
      query("ProcessVmReadv", "#include <sys/uio.h>",
            "iovec one{out.data(), 8}; process_vm_readv(1, &one, 1, &one, 1, 0);", kCrashed,
            "forbidden system call process_vm_readv", false),
      query("Ptrace", "#include <sys/ptrace.h>", "ptrace(PTRACE_ATTACH, 1, 0, 0);", kCrashed,
            "forbidden system call ptrace"),
      query("KillsEverybody", "#include <signal.h>", "::kill(-1, 9);", kCrashed,
            "forbidden system call kill"),
      query("Sleeps", "#include <time.h>", "timespec t{1, 0}; nanosleep(&t, nullptr);", kCrashed,
            "forbidden system call clock_nanosleep", false),
      query("ExecutableMemory", "#include <sys/mman.h>",
            "::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);",
            kCrashed, "forbidden system call mmap"),
      query("MapsTheSocket", "#include <sys/mman.h>",
            "::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, 3, 0);", kCrashed,
            "forbidden system call mmap"),
      query("RaisesItsLimits", "#include <sys/resource.h>",
            "rlimit r{1u << 30, 1u << 30}; setrlimit(RLIMIT_FSIZE, &r);", kCrashed,
            "forbidden system call prlimit64", false),
      query("LeavesItsCore", "#include <sched.h>",
            "cpu_set_t s; CPU_ZERO(&s); CPU_SET(0, &s); sched_setaffinity(0, sizeof s, &s);",
            kCrashed, "forbidden system call sched_setaffinity", false),
      query("MovesThePagesOfTheBase", "#include <sys/syscall.h>\n#include <unistd.h>",
            "syscall(SYS_mbind, input_.base.data, 4096, 0, nullptr, 0, 2);", kCrashed,
            "forbidden system call mbind"),
      // What a large array of the toolbox asks for, too: refused, and nothing else happens.
      query("AsksForItsMemoryPolicy",
            "#include <sys/syscall.h>\n#include <unistd.h>\n#include <cerrno>\n"
            "#include \"crinn/ann/toolbox/parallel.h\"",
            "int mode = 0; "
            "const long asked = syscall(SYS_get_mempolicy, &mode, nullptr, 0ul, nullptr, 0ul); "
            "if (asked != -1 || errno != EPERM) _exit(9); HugeArray<char> large(4 << 20); "
            "large[0] = 1;",
            kValid, ""),
      query("CatchesItsOwnSignal", "#include <signal.h>", "::signal(SIGSYS, SIG_IGN);", kCrashed,
            "forbidden system call rt_sigaction"),
      query("WritesTheBase", "", "const_cast<float*>(input_.base.data)[0] = 0; ", kCrashed,
            "SIGSEGV", false),
      query("MakesTheBaseWritable", "#include <sys/mman.h>",
            "auto* b = const_cast<float*>(input_.base.data); "
            "::mprotect(b, 4096, PROT_READ | PROT_WRITE); b[0] = 0;",
            kCrashed, "SIGSEGV"),
      query("Exits", "#include <unistd.h>", "::_exit(0);", kCrashed, "exited with status 0"),
      query("NullDereference", "inline int* volatile nowhere = nullptr;", "*nowhere = 1;", kCrashed,
            "SIGSEGV", false),
      query("StackOverflow",
            "inline int deep(int x) { volatile char pad[512]; pad[x & 511] = 1; "
            "return x < 0 ? 0 : deep(x + 1) + pad[x & 511]; }",
            "out.resize(static_cast<std::size_t>(deep(1) & 1));", kCrashed, "SIGSEGV", false),
      query("Throws", "#include <stdexcept>", "throw std::runtime_error(\"not today\");", kCrashed,
            "threw: not today", true),
      query("ForgesAReply", "#include <sys/socket.h>",
            "static char fake[4096]; for (int i = 1; i < 1024; i += 8) ::send(3, fake, i, 0);",
            kWrong, "forged", false),
  };
}

std::vector<Attack> on_the_results() {
  using enum Outcome;
  const auto answer = [](const char* name, const char* prologue, const char* before,
                         const char* code, const char* evidence) {
    return Attack{name, Role::kRefinement, prologue, before, code, kWrong, evidence, false};
  };
  return {
      answer("LeavesStaleResults", "", kAnswer, "if (k > 0) return k;", "no result was written"),
      answer("IdsOutOfRange", "", kLast, "if (count > 0) ids[count - 1] += 100000;", "holds id"),
      answer("NegativeIds", "", kLast, "if (count > 0) ids[0] = -7;", "holds id"),
      answer("DuplicateIds", "", kLast, "if (count > 1) ids[1] = ids[0];", "twice"),
      answer("NotReproducible", "inline int calls = 0;", kLast,
             "if (count > 1 && ++calls % 2) std::swap(ids[0], ids[1]);", "other results"),
      answer("DriftsWithEffort", "inline int calls = 0;", kLast,
             "if (count > 1 && ++calls % 14 > 7) std::swap(ids[0], ids[1]);", "other results"),
      {"ForgetsHalf", Role::kRefinement, "", "ids[i] = candidates", "if (i % 2) return i; else ",
       kLowRecall, "recall", false},
  };
}

std::vector<Attack> while_loading() {
  using enum Outcome;
  const auto loading = [](const char* name, const char* prologue, Outcome outcome,
                          const char* evidence) {
    return Attack{name, Role::kSearch, prologue, "", "", outcome, evidence, true};
  };
  return {
      loading("ConstructorReadsSecrets",
              "#include <fcntl.h>\n#include <unistd.h>\n"
              "static const int secret = [] { for (const char* p : {\"/etc/passwd\", "
              "\"/proc/1/environ\","
              " \"/\", \"/sys\", \"/dev/null\"}) if (::open(p, O_RDONLY) >= 0) ::_exit(3); return "
              "0; }();",
              kValid, ""),
      loading("ConstructorWrites",
              "#include <fcntl.h>\n"
              "static const int made = ::open(\"/made\", O_CREAT | O_WRONLY, 0600);",
              kCrashed, "loading the module: forbidden system call openat"),
      loading("ConstructorConnects",
              "#include <sys/socket.h>\nstatic const int s = ::socket(AF_UNIX, SOCK_STREAM, 0);",
              kCrashed, "loading the module: forbidden system call socket"),
      loading("ConstructorForks", "#include <unistd.h>\nstatic const int child = ::fork();",
              kCrashed, "loading the module: forbidden system call clone"),
      loading("ConstructorExits",
              "#include <unistd.h>\nstatic const int gone = [] { ::_exit(0); return 0; }();",
              kCrashed, "loading the module: exited with status 0"),
      loading("ConstructorHangs",
              "#include <fcntl.h>\ninline int spin = 1;\n"
              "static const int never = [] { for (; spin != 0; spin |= 1) {} return 0; }();",
              kTimedOut, "loading the module"),
  };
}

std::vector<Attack> on_the_compiler() {
  using enum Outcome;
  const auto compiling = [](const char* name, const char* prologue, Outcome outcome,
                            const char* evidence, bool banned = true) {
    return Attack{name, Role::kSearch, prologue, "", "", outcome, evidence, banned};
  };
  return {
      compiling("IncludesASecret", "#include \"/etc/passwd\"", kDoesNotCompile, "/etc/passwd"),
      compiling("IncludesTheEnvironment", "#include \"/proc/self/environ\"", kDoesNotCompile,
                "/proc/self/environ"),
      compiling("IncludesByMacro", "#define FILE_NAME \"/etc/passwd\"\n#include FILE_NAME",
                kDoesNotCompile, "/etc/passwd"),
      compiling("IncbinOfASecret", "asm(\".incbin \\\"/etc/passwd\\\"\");", kDoesNotCompile,
                "/etc/passwd"),
      compiling("ProbesFiles",
                "#if __has_include(\"/etc/passwd\") || __has_include(\"/proc/self/maps\")\n"
                "#error there\n#endif",
                kValid, ""),
      compiling("TemplateBomb",
                "template <int N, int M> struct Bomb { static constexpr long value = "
                "Bomb<N - 1, 2 * M>::value + Bomb<N - 1, 2 * M + 1>::value; };\n"
                "template <int M> struct Bomb<0, M> { static constexpr long value = M; };\n"
                "static_assert(Bomb<28, 0>::value != 1);",
                kTimedOut, "the compiler", false),
      compiling("ConstexprBomb",
                "constexpr long burn() { long x = 0; for (long i = 0; i < 1000000000000; ++i) "
                "x += i; return x; }\nstatic_assert(burn() != 1);",
                kDoesNotCompile, "constexpr", false),
      compiling("GiantArray", "char giant[100000000000ull] = {1};", kDoesNotCompile, "", false),
      compiling("AssemblerBomb", "asm(\".rept 1000000000\\n.quad 1\\n.endr\");", kDoesNotCompile,
                ""),
      compiling("PragmaPush", "#pragma GCC optimize(\"O0\")", kValid, ""),
      compiling("ConstructorAttribute", "__attribute__((constructor)) static void early() {}",
                kValid, ""),
  };
}

}  // namespace

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> all = [] {
    std::vector<Attack> list;
    for (const auto& part : {at_a_query(), on_the_results(), while_loading(), on_the_compiler()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

std::string hostile_text(const Attack& attack, const std::string& harmless) {
  std::string text = harmless;
  const std::string marker = "\nnamespace crinn::ann::plain {\n";
  const std::size_t head = text.find(marker);
  if (head == std::string::npos) throw std::logic_error("no namespace in the harmless module");
  if (*attack.before != '\0') {
    const std::size_t at = text.find(attack.before);
    if (at == std::string::npos) throw std::logic_error(attack.name);
    text.insert(at, attack.code);
  }
  return text.insert(head, "\n" + std::string(attack.prologue) + "\n");
}

}  // namespace crinn::harness::testing
