package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Set;

/**
 * An encoded tensor that decodes to F32, shown in another floating type.
 *
 * @param type not F32
 */
record TypedTensor(EncodedTensor encoded, DType type) implements EncodedTensor {
  private static final long PIECE = 1 << 18; // elements converted at a time

  @Override
  public TensorInfo logical() {
    TensorInfo plain = encoded.logical();
    return new TensorInfo(plain.name(), type, plain.shape());
  }

  @Override
  public String anchor() {
    return encoded.anchor();
  }

  @Override
  public Set<String> parts() {
    return encoded.parts();
  }

  @Override
  public void read(Checkpoint source, long byteOffset, ByteBuffer target) throws IOException {
    long size = type.bytes(1);
    long offset = byteOffset;
    while (target.hasRemaining()) {
      // The elements that hold the wanted bytes, which may begin and end within one.
      long first = offset / size;
      long end = (offset + target.remaining() + size - 1) / size;
      long count = Math.min(PIECE, end - first);
      try (Scope scope = new Scope()) {
        Tensor values = scope.allocate(Device.cpu(), DType.F32, count);
        values.withBuffer(
            0,
            Math.toIntExact(values.byteSize()),
            buffer -> encoded.read(source, DType.F32.bytes(first), buffer));
        Tensor converted = scope.allocate(Device.cpu(), type, count);
        Ops.convert(values, converted);
        long skipped = offset - first * size;
        int wanted = (int) Math.min(target.remaining(), converted.byteSize() - skipped);
        converted.copyTo(skipped, target.slice().limit(wanted));
        target.position(target.position() + wanted);
        offset += wanted;
      }
    }
  }
}
