#include <pybind11/stl.h>

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/module.h"
#include "runtime/sub_vit.h"

namespace devit {

using namespace py::literals;

namespace {

// tensors[name], one at a time: nothing is held between two reads.
class MappingSource : public TensorSource {
 public:
  explicit MappingSource(py::object tensors) : tensors_(std::move(tensors)) {}

  void read(const std::string& name, std::span<const std::size_t> shape,
            const std::function<void(const float*)>& use) override {
    read_array<float>(name, "float32", shape, use);
  }

  void read_float16(const std::string& name, std::span<const std::size_t> shape,
                    const std::function<void(const Half*)>& use) override {
    read_array<Half>(name, "float16", shape, use);
  }

  void read_int8(const std::string& name, std::span<const std::size_t> shape,
                 const std::function<void(const std::int8_t*, const float*)>& use) override {
    const py::object pair = tensors_[py::str(name)];
    if (!py::isinstance<py::tuple>(pair) || py::len(pair) != 2 ||
        !py::isinstance<ArrayI8>(pair[py::int_(0)]) ||
        !py::isinstance<ArrayF32>(pair[py::int_(1)])) {
      throw py::type_error("tensor '" + name +
                           "' must be a pair of C-contiguous arrays, int8 and float32");
    }
    const auto levels = py::reinterpret_borrow<ArrayI8>(pair[py::int_(0)]);
    const auto scale = py::reinterpret_borrow<ArrayF32>(pair[py::int_(1)]);
    require_shape("tensor '" + name + "'", levels, shape);
    require_shape("scale of tensor '" + name + "'", scale, shape.first(1));
    const std::int8_t* level_data = levels.data();
    const float* scale_data = scale.data();
    const py::gil_scoped_release nogil;
    use(level_data, scale_data);
  }

 private:
  template <typename Number>
  void read_array(const std::string& name, const std::string& dtype,
                  std::span<const std::size_t> shape,
                  const std::function<void(const Number*)>& use) {
    const py::object tensor = tensors_[py::str(name)];
    if (!py::isinstance<Array<Number>>(tensor)) {
      throw py::type_error("tensor '" + name + "' must be a C-contiguous " + dtype + " array");
    }
    const auto array = py::reinterpret_borrow<Array<Number>>(tensor);
    require_shape("tensor '" + name + "'", array, shape);
    const Number* data = array.data();
    const py::gil_scoped_release nogil;
    use(data);
  }

  py::object tensors_;
};

struct NamedDtype {
  const char* name;
  Dtype dtype;
};

constexpr NamedDtype kDtypes[] = {
    {"float32", Dtype::kFloat32}, {"float16", Dtype::kFloat16}, {"int8", Dtype::kInt8}};

Dtype parse_dtype(const std::string& name) {
  for (const NamedDtype& known : kDtypes) {
    if (name == known.name) return known.dtype;
  }
  throw std::invalid_argument("dtype must be 'float32', 'float16' or 'int8', got '" + name + "'");
}

std::string dtype_name(const SubVit& model) {
  for (const NamedDtype& known : kDtypes) {
    if (model.dtype() == known.dtype) return known.name;
  }
  throw std::logic_error("a dtype without a name");
}

using ConvSizes = std::array<std::size_t, 4>;

std::unique_ptr<SubVit> make_sub_vit(
    std::size_t image_size, std::size_t patch_size, std::size_t embed_dim, std::size_t head_dim,
    std::size_t prefix_tokens, const std::vector<std::pair<std::size_t, std::size_t>>& blocks,
    float norm_eps, py::object tensors, const std::vector<ConvSizes>& tokenizer, bool residual_norm,
    const std::string& dtype, std::size_t threads, const std::string& isa) {
  SubVitShape shape{.image_size = image_size,
                    .patch_size = patch_size,
                    .embed_dim = embed_dim,
                    .head_dim = head_dim,
                    .prefix_tokens = prefix_tokens,
                    .blocks = {},
                    .norm_eps = norm_eps,
                    .tokenizer = {},
                    .residual_norm = residual_norm};
  for (const auto& [heads, mlp_dim] : blocks) shape.blocks.push_back({heads, mlp_dim});
  for (const auto& [channels, kernel_size, stride, padding] : tokenizer) {
    shape.tokenizer.push_back({channels, kernel_size, stride, padding});
  }
  MappingSource source(std::move(tensors));
  return std::make_unique<SubVit>(std::move(shape), source, kernels(isa), parse_dtype(dtype),
                                  threads);
}

void features(SubVit& model, const ArrayU8& image, ArrayF32& out) {
  const std::size_t side = model.shape().image_size;
  require_shape("image", image, {side, side, kChannels});
  require_shape("out", out, {model.shape().feature_dim()});
  const std::uint8_t* pixels = image.data();
  float* feature = out.mutable_data();
  const py::gil_scoped_release nogil;
  model.features(pixels, feature);
}

}  // namespace

void register_runtime(py::module_& m) {
  // Local: two builds of this module fit into one process (scripts/bench_check.py).
  py::class_<SubVit>(m, "SubVit", py::module_local(), R"doc(
One sub-ViT, from raw pixels to the layer-normed prefix tokens or a CCT's pooled token.

Allocates when made, never per image. Safe to use from several threads: calls take turns.
)doc")
      .def(py::init(&make_sub_vit), py::kw_only(), "image_size"_a, "patch_size"_a, "embed_dim"_a,
           "head_dim"_a, "prefix_tokens"_a, "blocks"_a, "norm_eps"_a, "tensors"_a,
           "tokenizer"_a = std::vector<ConvSizes>{}, "residual_norm"_a = false,
           "dtype"_a = "float32", "threads"_a = 0, "isa"_a = "", R"doc(
Pull each tensor of ``devit_iot.bundle.spec.tensors`` from ``tensors``, one at a time, and pack it.

Args:
    blocks: (heads, mlp_dim) of each block; the other sizes are as in SubVitSpec.
    tensors: name -> float32, C-contiguous array; the matrices of ``devit_iot.bundle.storage`` as they are
        stored in ``dtype``: a float16 array, or a pair of an int8 array and a float32 scale of each
        row.
    tokenizer: (channels, kernel_size, stride, padding) of each convolution.
    dtype: "float32", or "float16" or "int8" for these matrices; all else stays float32.
    threads: including the calling one; 0 is one per CPU available to the process.
    isa: instruction set; "" as in :func:`select_isa`.

Raises:
    TypeError: a tensor has another dtype or layout.
    ValueError: a shape is wrong or impossible, a tensor holds NaN or infinity, a scale is not
        positive, int8 cannot hold rows so long, or ``isa`` does not run here.
)doc")
      .def("features", &features, "image"_a.noconvert(), "out"_a.noconvert(), R"doc(
Write the feature of ``image`` into ``out``; the GIL is released meanwhile.

Args:
    image: uint8, C-contiguous, (image_size, image_size, 3), RGB.
    out: float32, C-contiguous, writeable, (feature_dim,).
)doc")
      .def_property_readonly("isa",
                             [](const SubVit& self) { return std::string(self.kernels().isa); })
      .def_property_readonly("dtype", &dtype_name)
      .def_property_readonly("threads", &SubVit::threads)
      .def_property_readonly("feature_dim",
                             [](const SubVit& self) { return self.shape().feature_dim(); })
      .def_property_readonly("memory_bytes", &SubVit::memory_bytes);
}

}  // namespace devit
