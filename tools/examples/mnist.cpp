// mnist: trains a network on handwritten digits and says how many of those that it has not seen it
// recognises.
//
//   mnist                                784-512-256-10, gradient descent with momentum
//   mnist --model=cnn --optimizer=adam   two convolutions and a linear layer
//   mnist --save=w.npz                   keep the weights
//   mnist --load=w.npz --epochs=0        only test
//
// Nothing is compiled after the second step of the first epoch: the programs are known by then, and
// rates, positions and weights are data. The end of the output says so, and the exit code too.
//
// On a terminal a line shows the progress of the epoch. The last line of the output is
// `test accuracy: 0.9xxx`.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "cermet/cermet.h"
#include "tools/examples/network.h"
#include "tools/examples/optimizer.h"
#include "tools/examples/training.h"

namespace {

namespace ct = cermet;
using examples::Adam, examples::Digits, examples::Network, examples::Optimizer, examples::Sgd;

// Exit codes, so that scripts need not read messages.
enum Exit : int { Done = 0, Failed = 1, Usage = 2, Recompiled = 3, Interrupted = 130 };

struct Options {
  std::string model = "mlp", optimizer, data = CERMET_MNIST_FILE, load, save, device = "cpu";
  int64_t epochs = 10, batch = 100, train = 8000, test = 2000;
  uint64_t seed = 1;
  double rate = 0;  // 0: the optimizer's own
};

volatile std::sig_atomic_t interrupted = 0;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One line that is written over, for terminals only.
class Progress {
 public:
  Progress(int64_t epoch, int64_t epochs) : epoch_(epoch), epochs_(epochs) {}
  void show(int64_t step, int64_t steps, double loss, double images_per_second) {
    if (!terminal_) return;
    constexpr int64_t width = 30;
    const auto done = size_t(width * step / steps);
    fmt::print("\repoch {:2}/{}  [{}{}]  {}/{}  loss {:.4f}  {:.0f} images/s \x1b[K", epoch_,
               epochs_, std::string(done, '='), std::string(width - done, ' '), step, steps, loss,
               images_per_second);
    std::fflush(stdout);
  }
  ~Progress() {
    if (terminal_) fmt::print("\r\x1b[K");
  }

 private:
  const bool terminal_ = isatty(STDOUT_FILENO) != 0;
  int64_t epoch_, epochs_;
};

const ct::Tensor* find(const ct::NamedTensors& arrays, std::string_view name) {
  for (const auto& [each, tensor] : arrays)
    if (each == name) return &tensor;
  return nullptr;
}

// `images` uint8 [N,28,28] and `labels` uint8 [N]: the first part to train, the last to test.
std::pair<Digits, Digits> read_digits(const Options& options) {
  const ct::NamedTensors arrays = ct::load_npz(options.data);
  const ct::Tensor *images = find(arrays, "images"), *labels = find(arrays, "labels");
  if (!images || !labels)
    throw ct::Error(fmt::format("{}: expects the arrays images and labels", options.data));
  const int64_t count = images->dim() > 0 ? images->size(0) : 0;
  if (images->shape() != ct::Shape{count, 28, 28} || labels->shape() != ct::Shape{count})
    throw ct::Error(fmt::format("{}: expects images [N,28,28] and labels [N], got {} and {}",
                                options.data, ct::to_string(images->shape()),
                                ct::to_string(labels->shape())));
  if (options.train + options.test > count)
    throw ct::Error(fmt::format("{}: {} digits, but {} to train and {} to test are asked for",
                                options.data, count, options.train, options.test));
  const ct::Tensor pixels = images->to(ct::DType::F32) / 255;
  const ct::Tensor classes = labels->to(ct::DType::I64);
  if (count > 0 && (classes.amin().item<int64_t>() < 0 || classes.amax().item<int64_t>() > 9))
    throw ct::Error(fmt::format("{}: labels must be digits", options.data));
  const auto part = [&](int64_t first, int64_t size) {
    return Digits{pixels.narrow(0, first, size).unsqueeze(1).clone(),
                  classes.narrow(0, first, size).clone()};
  };
  Digits train = part(0, options.train), test = part(count - options.test, options.test);
  for (Digits* digits : {&train, &test})
    for (ct::Tensor* t : {&digits->images, &digits->labels}) *t = t->to(options.device);
  ct::realize({train.images, train.labels, test.images, test.labels});
  return {train, test};
}

void load_weights(Network& net, const std::string& path) {
  const ct::NamedTensors arrays = ct::load_npz(path);
  const ct::no_grad guard;
  for (size_t i = 0; i < net.names.size(); ++i) {
    const ct::Tensor* weights = find(arrays, net.names[i]);
    ct::Tensor& parameter = net.parameters[i];
    if (!weights) throw ct::Error(fmt::format("{}: no array {}", path, net.names[i]));
    if (weights->shape() != parameter.shape() || weights->dtype() != parameter.dtype())
      throw ct::Error(fmt::format("{}: {} is {} {}, expected {} {}", path, net.names[i],
                                  ct::name(weights->dtype()), ct::to_string(weights->shape()),
                                  ct::name(parameter.dtype()), ct::to_string(parameter.shape())));
    parameter.copy_(*weights);
  }
  ct::realize(net.parameters);
}

void save_weights(const Network& net, const std::string& path) {
  ct::NamedTensors arrays;
  for (size_t i = 0; i < net.names.size(); ++i)
    arrays.emplace_back(net.names[i], net.parameters[i].detach());
  ct::save_npz(path, arrays);
}

// What must not happen after the second step: programs or kernels that were not known.
int64_t unknown_programs() {
  const ct::Statistics s = ct::statistics();
  return s.plan_misses + s.compiles + s.disk_hits;
}

struct Training {
  double accuracy = 0;
  bool recompiled = false;
};

// A last batch that is not full is left out of its epoch; the order changes with each epoch.
Training train(Network& net, Optimizer& optimizer, const Digits& digits, const Digits& test,
               const Options& options) {
  constexpr int64_t test_batch = 500;
  const ct::Key key = ct::Key(options.seed).fold(1);
  const int64_t batch = std::min(options.batch, digits.count()), steps = digits.count() / batch;
  Training result{examples::accuracy(net, test, test_batch)};
  fmt::print("{:>6}  {:>8}  {:>8}  {:>8}  {:>9}\n", "epoch", "loss", "accuracy", "seconds",
             "images/s");
  fmt::print("{:>6}  {:>8}  {:>8.4f}\n", 0, "", result.accuracy);
  int64_t known = unknown_programs(), steps_done = 0;
  for (int64_t epoch = 1; epoch <= options.epochs && !interrupted; ++epoch) {
    const std::vector<int64_t> order =
        examples::shuffled(digits.count(), key.fold(uint64_t(epoch)));
    if (epoch == 1) known = unknown_programs();
    const auto start = std::chrono::steady_clock::now();
    double loss = 0;
    {
      Progress progress(epoch, options.epochs);
      for (int64_t step = 0; step < steps && !interrupted; ++step) {
        const auto positions = std::span(order).subspan(size_t(step * batch), size_t(batch));
        loss += double(examples::train_step(net, optimizer, digits, positions));
        if (++steps_done == 2) known = unknown_programs();
        progress.show(step + 1, steps, loss / double(step + 1),
                      double((step + 1) * batch) / seconds_since(start));
      }
    }
    if (interrupted) break;
    const double seconds = seconds_since(start);
    result.accuracy = examples::accuracy(net, test, test_batch);
    fmt::print("{:>6}  {:>8.4f}  {:>8.4f}  {:>8.2f}  {:>9.0f}\n", epoch, loss / double(steps),
               result.accuracy, seconds, double(steps * batch) / seconds);
    std::fflush(stdout);
  }
  result.recompiled = steps_done > 2 && unknown_programs() != known;
  return result;
}

int run(const Options& options) {
  const auto [digits, test] = read_digits(options);
  const ct::Key key(options.seed);
  Network net = options.model == "cnn" ? examples::make_cnn(key) : examples::make_mlp(key);
  for (ct::Tensor& p : net.parameters) p = p.detach().to(options.device).set_requires_grad();
  if (!options.load.empty()) load_weights(net, options.load);
  std::unique_ptr<Optimizer> optimizer;
  if (options.optimizer == "adam")
    optimizer = std::make_unique<Adam>(options.rate > 0 ? options.rate : 0.003);
  else
    optimizer = std::make_unique<Sgd>(options.rate > 0 ? options.rate : 0.05);

  const Training result = train(net, *optimizer, digits, test, options);
  if (interrupted) {
    fmt::print("interrupted\n");
    return Interrupted;
  }
  if (!options.save.empty()) save_weights(net, options.save);
  const ct::Statistics s = ct::statistics();
  fmt::print("{} programs, {} kernels: {} compiled, {} from the cache; {}\n", s.plan_misses,
             s.compiles + s.disk_hits, s.compiles, s.disk_hits,
             result.recompiled ? "some after the second step" : "none after the second step");
  if (result.recompiled)
    fmt::print(stderr, "mnist: compiled after the second step\n{}", ct::explain());
  fmt::print("test accuracy: {:.4f}\n", result.accuracy);
  return result.recompiled ? Recompiled : Done;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Trains a network on handwritten digits."};
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--model", options.model, "the network")
      ->check(CLI::IsMember({"mlp", "cnn"}))
      ->capture_default_str();
  app.add_option("--optimizer", options.optimizer, "default: sgd for mlp, adam for cnn")
      ->check(CLI::IsMember({"sgd", "adam"}));
  app.add_option("--epochs", options.epochs, "times through the digits")
      ->check(CLI::Range(int64_t(0), int64_t(100000)))
      ->capture_default_str();
  app.add_option("--batch", options.batch, "digits in a step")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20))
      ->capture_default_str();
  app.add_option("--lr", options.rate, "learning rate; default: 0.05 for sgd, 0.003 for adam")
      ->check(CLI::PositiveNumber);
  app.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--seed", options.seed, "of weights and order")->capture_default_str();
  app.add_option("--train", options.train, "how many digits to train with")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20))
      ->capture_default_str();
  app.add_option("--test", options.test, "how many digits to test with")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20))
      ->capture_default_str();
  app.add_option("--data", options.data, ".npz with images and labels")->capture_default_str();
  app.add_option("--load", options.load, "start with these weights (.npz)");
  app.add_option("--save", options.save, "write the weights (.npz)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? Done : Usage;
  }
  if (options.optimizer.empty()) options.optimizer = options.model == "cnn" ? "adam" : "sgd";

  // The step that runs is finished; a second Ctrl-C ends at once.
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = int(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  try {
    return run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "mnist: {}\n", error.what());
    return Failed;
  }
}
