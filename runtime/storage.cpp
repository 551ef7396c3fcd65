#include "runtime/storage.h"

#include "cermet/error.h"

namespace cermet::runtime {

Buffer buffer_of(const ir::Storage& storage) {
  const auto* ours = dynamic_cast<const BufferStorage*>(&storage);
  if (!ours) throw InternalError("a storage of another runtime");
  return ours->buffer();
}

}  // namespace cermet::runtime
