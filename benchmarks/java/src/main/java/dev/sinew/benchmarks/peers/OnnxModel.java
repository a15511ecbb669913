package dev.sinew.benchmarks.peers;

import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Writes a small ONNX model: protocol buffers in the field numbers of onnx.proto3. Messages are
 * lists of parts until their lengths are known, so that large weights are copied once.
 */
final class OnnxModel {
  static final int FLOAT = 1;
  static final int UINT8 = 2;
  static final int INT8 = 3;
  static final int INT32 = 6;

  private static final int VARINT = 0;
  private static final int BYTES = 2;
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private final Message graph = new Message();

  /** A tensor that the model holds, with the bytes of ours. */
  void initializer(String name, int type, Tensor values, long... shape) {
    markedInitializer(name, type, values, 0, shape);
  }

  /**
   * The same with the first byte changed by a mark of its own: ONNX Runtime keeps equal weights
   * once, and a few copies of them would come from the caches.
   */
  void markedInitializer(String name, int type, Tensor values, int mark, long... shape) {
    Message tensor = new Message();
    for (long size : shape) {
      tensor.number(1, size);
    }
    tensor.number(2, type).text(8, name).bytes(9, new Weights(values, (byte) mark));
    graph.message(5, tensor);
  }

  void input(String name, int type, long... shape) {
    graph.message(11, value(name, type, shape));
  }

  void output(String name, int type, long... shape) {
    graph.message(12, value(name, type, shape));
  }

  private static Message value(String name, int type, long... shape) {
    Message dimensions = new Message();
    for (long size : shape) {
      dimensions.message(1, new Message().number(1, size));
    }
    Message tensor = new Message().number(1, type).message(2, dimensions);
    return new Message().text(1, name).message(2, new Message().message(1, tensor));
  }

  /** An operator with attributes that are whole numbers. */
  void node(
      String domain,
      String operator,
      List<String> inputs,
      String output,
      Map<String, Long> attributes) {
    Message node = new Message();
    inputs.forEach(input -> node.text(1, input));
    node.text(2, output).text(3, output).text(4, operator).text(7, domain);
    attributes.forEach(
        (name, value) ->
            node.message(5, new Message().text(1, name).number(3, value).number(20, 2)));
    graph.message(1, node);
  }

  /** The model in native memory. */
  ByteBuffer build() {
    graph.text(2, "benchmark");
    Message model =
        new Message()
            .number(1, IR_VERSION)
            .message(8, new Message().text(1, "").number(2, OPSET))
            .message(8, new Message().text(1, "com.microsoft").number(2, 1))
            .message(7, graph);
    ByteBuffer buffer =
        ByteBuffer.allocateDirect(Math.toIntExact(model.size)).order(ByteOrder.LITTLE_ENDIAN);
    model.write(buffer);
    return buffer.flip();
  }

  private record Weights(Tensor values, byte mark) {}

  private static final class Message {
    private final List<Object> parts = new ArrayList<>();
    private long size;

    Message number(int field, long value) {
      varint((long) field << 3 | VARINT);
      varint(value);
      return this;
    }

    Message text(int field, String text) {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      return part(field, bytes, bytes.length);
    }

    Message bytes(int field, Weights weights) {
      return part(field, weights, weights.values().byteSize());
    }

    Message message(int field, Message message) {
      return part(field, message, message.size);
    }

    private Message part(int field, Object part, long length) {
      varint((long) field << 3 | BYTES);
      varint(length);
      parts.add(part);
      size += length;
      return this;
    }

    private void varint(long value) {
      byte[] bytes = new byte[10];
      int count = 0;
      for (; (value & ~0x7fL) != 0; value >>>= 7) {
        bytes[count++] = (byte) (value | 0x80);
      }
      bytes[count++] = (byte) value;
      parts.add(java.util.Arrays.copyOf(bytes, count));
      size += count;
    }

    void write(ByteBuffer to) {
      for (Object part : parts) {
        if (part instanceof Message message) {
          message.write(to);
        } else if (part instanceof Weights weights) {
          int first = to.position();
          weights.values().withBuffer(0, (int) weights.values().byteSize(), to::put);
          to.put(first, (byte) (to.get(first) ^ weights.mark()));
        } else {
          to.put((byte[]) part);
        }
      }
    }
  }
}
