#include "runtime/storage.h"

#include "cermet/error.h"
#include "runtime/deferred_copy.h"

namespace cermet::runtime {

Buffer buffer_of(const ir::Storage& storage) {
  if (const auto* copy = dynamic_cast<const DeferredCopy*>(&storage))
    return buffer_of(*copy->resolved());
  const auto* ours = dynamic_cast<const BufferStorage*>(&storage);
  if (!ours) {
    (void)storage.host_data();  // what stands for elements says itself that it has none
    throw InternalError("a storage of another runtime");
  }
  return ours->buffer();
}

}  // namespace cermet::runtime
