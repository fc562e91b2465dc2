// A stand-in for a GPU where only the way of the bytes is tested: device memory is host memory, a
// queue does its work at once, and the ordered sum is the CPU's. It knows no kernels: those are
// tested with the emulator.
#include <cstring>
#include <new>
#include <vector>

#include "base/device/device.h"
#include "comm/copy_bytes.h"
#include "comm/ordered_sum.h"

namespace octet {
namespace {

class HostGpu final : public Gpu {
 public:
  const DeviceInfo& info() const override { return info_; }
  Stream& stream() override { return stream_; }
  Stream NewStream() override { return stream_; }
  void MakeCurrent() override {}
  int64_t free_bytes() override { return 0; }

 private:
  DeviceInfo info_;
  Stream stream_{&info_, this};
};

void Copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace

Result<std::unique_ptr<Gpu>> Gpu::Open(const GpuOptions&) {
  return std::unique_ptr<Gpu>(std::make_unique<HostGpu>());
}

template <MemoryKind kKind>
Result<OwnedBytes<kKind>> OwnedBytes<kKind>::Allocate(int64_t bytes) {
  constexpr std::align_val_t kAlignment{256};
  OwnedBytes made;
  made.data_ = static_cast<std::byte*>(operator new(static_cast<size_t>(bytes), kAlignment));
  made.bytes_ = bytes;
  std::memset(made.data_, 0xff, static_cast<size_t>(bytes));
  return made;
}

template <MemoryKind kKind>
void OwnedBytes<kKind>::Free() {
  operator delete (data_, std::align_val_t{256});
}

template class OwnedBytes<MemoryKind::kDevice>;

void CopyToDevice(void* device, const void* host, int64_t bytes, Stream&) {
  Copy(device, host, bytes);
}
void CopyToHost(void* host, const void* device, int64_t bytes, Stream&) {
  Copy(host, device, bytes);
}
void CallOnHost(void (*function)(void*), void* data, Stream&) { function(data); }
void Synchronize(Stream&) {}

namespace comm {

void cuda::OrderedSum(const OrderedSumArgs& args, Stream&) {
  const std::vector<int32_t> merges(args.merges.begin(), args.merges.begin() + args.root_count);
  octet::OrderedSum({args.roots.data(), static_cast<size_t>(args.root_count)}, merges, 0,
                    args.count, args.out);
}

void cuda::CopyBytes(const CopyBytesArgs& args, Stream&) { Copy(args.to, args.from, args.bytes); }

}  // namespace comm
}  // namespace octet
