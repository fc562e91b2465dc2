#include "tests/bench/cublas_lt.h"

#include <dlfcn.h>

#include "base/check.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

namespace octet {
namespace {

constexpr size_t kWorkspaceBytes = size_t{64} << 20;

// The functions used, by the types that the header gives them.
struct Functions {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) matmul;

  bool Find(void* library) {
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return find(create, "cublasLtCreate") && find(desc_create, "cublasLtMatmulDescCreate") &&
           find(desc_set, "cublasLtMatmulDescSetAttribute") &&
           find(layout_create, "cublasLtMatrixLayoutCreate") &&
           find(preference_create, "cublasLtMatmulPreferenceCreate") &&
           find(preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
           find(heuristic, "cublasLtMatmulAlgoGetHeuristic") && find(matmul, "cublasLtMatmul");
  }
};

#define OCTET_CUBLAS_CHECK(call) OCTET_CHECK_EQ(static_cast<int>(call), CUBLAS_STATUS_SUCCESS)

class LoadedCublasLt : public CublasLt {
 public:
  explicit LoadedCublasLt(const Functions& functions) : f_(functions) {
    OCTET_CUBLAS_CHECK(f_.create(&handle_));
    workspace_ = DeviceBuffer::Allocate(kWorkspaceBytes).value();
  }

  // Column-major, out [outputs, rows] = transposed W [inputs, outputs] times x [inputs, rows].
  bool Prepare(int64_t outputs, int64_t rows, int64_t inputs) override {
    // Descriptors of earlier shapes are not given back: a bench has few.
    OCTET_CUBLAS_CHECK(f_.desc_create(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    OCTET_CUBLAS_CHECK(
        f_.desc_set(desc_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    const auto layout = [&](cublasLtMatrixLayout_t* to, int64_t first, int64_t second) {
      OCTET_CUBLAS_CHECK(f_.layout_create(to, CUDA_R_16BF, static_cast<uint64_t>(first),
                                          static_cast<uint64_t>(second), first));
    };
    layout(&weights_, inputs, outputs);
    layout(&x_, inputs, rows);
    layout(&out_, outputs, rows);
    cublasLtMatmulPreference_t preference = nullptr;
    OCTET_CUBLAS_CHECK(f_.preference_create(&preference));
    OCTET_CUBLAS_CHECK(f_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &kWorkspaceBytes, sizeof kWorkspaceBytes));
    int found = 0;
    const auto status =
        f_.heuristic(handle_, desc_, weights_, x_, out_, out_, preference, 1, &result_, &found);
    return status == CUBLAS_STATUS_SUCCESS && found == 1;
  }

  void Multiply(const void* weights, const void* x, void* out, Stream& stream) override {
    const float one = 1;
    const float zero = 0;
    OCTET_CUBLAS_CHECK(f_.matmul(handle_, desc_, &one, weights, weights_, x, x_, &zero, out, out_,
                                 out, out_, &result_.algo, workspace_.data(), kWorkspaceBytes,
                                 static_cast<cudaStream_t>(stream.handle())));
  }

 private:
  Functions f_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceBuffer workspace_;
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t weights_ = nullptr;
  cublasLtMatrixLayout_t x_ = nullptr;
  cublasLtMatrixLayout_t out_ = nullptr;
  cublasLtMatmulHeuristicResult_t result_ = {};
};

}  // namespace

std::unique_ptr<CublasLt> CublasLt::Load() {
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
    void* library = dlopen(name, RTLD_NOW);
    Functions functions = {};
    if (library != nullptr && functions.Find(library)) {
      return std::make_unique<LoadedCublasLt>(functions);
    }
  }
  return nullptr;
}

}  // namespace octet

#else

namespace octet {
std::unique_ptr<CublasLt> CublasLt::Load() { return nullptr; }
}  // namespace octet

#endif
