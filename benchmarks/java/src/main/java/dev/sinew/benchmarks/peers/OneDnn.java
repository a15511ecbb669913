package dev.sinew.benchmarks.peers;

import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_ATTR_SCALES;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_DST;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SRC;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_WEIGHTS;

import dev.sinew.DType;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.dnnl.IntMemoryMap;
import org.bytedeco.dnnl.engine;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.dnnl.matmul;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.primitive_attr;
import org.bytedeco.dnnl.reorder;
import org.bytedeco.dnnl.stream;

/** oneDNN, through JavaCPP's preset, with weights in the order it prefers. */
final class OneDnn implements Peer {
  private final engine cpu = new engine(engine.kind.cpu, 0);
  private final stream stream = new stream(cpu);

  @Override
  public String name() {
    return "oneDNN";
  }

  @Override
  public String version() {
    return String.valueOf(dnnl.class.getPackage().getImplementationVersion());
  }

  /** Its OpenMP is libtorch's, which sets the threads for both. */
  @Override
  public void setThreads(int threads) {}

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) {
    List<Contestant> all = new ArrayList<>();
    switch (problem.work()) {
      case F32 -> add(all, problem, data, "f32", data.floats(), memory.data_type.f32);
      case INT8 -> add(all, problem, data, "u8s8", data.int8(), memory.data_type.s8);
      case INT8_WEIGHTS -> add(all, problem, data, "f32s8", data.int8(), memory.data_type.s8);
      case INT4_WEIGHTS -> add(all, problem, data, "f32s4", data.int4(128), memory.data_type.s4);
      default -> {}
    }
    return all;
  }

  private void add(
      List<Contestant> all,
      Problem problem,
      LayerData data,
      String name,
      WeightData weights,
      memory.data_type type) {
    List<Tensor> owned = new ArrayList<>();
    try {
      Product product = new Product(problem, data, "oneDNN " + name, weights, type, owned);
      // Its reference code is no contestant: it takes a second a call.
      if (!product.implementation.startsWith("ref")) {
        all.add(product);
        return;
      }
      product.close();
      System.out.println("  oneDNN " + name + " has only reference code here");
    } catch (RuntimeException e) {
      owned.forEach(Tensor::close);
      System.out.println("  oneDNN " + name + ": " + e.getMessage());
    }
  }

  private final class Product implements Contestant {
    private final LayerData data;
    private final String name;
    private final WeightData weights;
    private final boolean quantized;
    final String implementation;
    private final matmul primitive;
    private final IntMemoryMap[] arguments;
    private final List<Tensor> owned;
    private final Tensor y;
    private final Quantized x;
    private final long bytes;

    Product(
        Problem problem,
        LayerData data,
        String name,
        WeightData weights,
        memory.data_type type,
        List<Tensor> owned) {
      this.owned = owned;
      this.data = data;
      this.name = name;
      this.weights = weights;
      quantized = problem.work() == Problem.Work.INT8;
      x = quantized ? new Quantized(data, true) : null;
      y = own(Tensor.allocate(data.device, quantized ? DType.I32 : DType.F32, data.rows, data.out));
      long[] source = {data.rows, data.in};
      long[] sink = {data.rows, data.out};
      long[] matrix = {data.in, data.out};
      memory.data_type xType = quantized ? memory.data_type.u8 : memory.data_type.f32;
      memory.data_type yType = quantized ? memory.data_type.s32 : memory.data_type.f32;
      primitive_attr attributes = new primitive_attr();
      boolean decompress = !quantized && weights.q() != null;
      if (decompress) {
        attributes.set_fpmath_mode(dnnl.fpmath_mode.strict, true);
        long groups = weights.scale().size(1);
        attributes.set_scales(
            DNNL_ARG_WEIGHTS,
            groups == 1 ? 2 : 3,
            groups == 1 ? new long[0] : new long[] {weights.group(), 1});
      }
      memory.desc xDesc = new memory.desc(source, xType, memory.format_tag.ab);
      memory.desc yDesc = new memory.desc(sink, yType, memory.format_tag.ab);
      matmul.primitive_desc description =
          new matmul.primitive_desc(
              cpu,
              xDesc,
              new memory.desc(matrix, type, memory.format_tag.any),
              yDesc,
              attributes,
              false);
      implementation = description.impl_info_str().getString();
      primitive = new matmul(description);
      memory.desc packedDesc = description.weights_desc();
      bytes = packedDesc.get_size();
      int count = implementation.startsWith("ref") ? 1 : data.copies(problem, bytes);
      memory xMemory = new memory(xDesc, cpu, Address.of(quantized ? x.values() : data.x));
      memory yMemory = new memory(yDesc, cpu, Address.of(y));
      memory scales = decompress ? scales() : null;
      memory plain = plain(matrix, type);
      arguments = new IntMemoryMap[count];
      for (int i = 0; i < count; i++) {
        Tensor place = own(Tensor.allocate(data.device, DType.U8, bytes));
        memory packed = new memory(packedDesc, cpu, Address.of(place));
        new reorder(plain, packed).execute(stream, plain, packed);
        stream._wait();
        arguments[i] = new IntMemoryMap();
        arguments[i].put(DNNL_ARG_SRC, xMemory);
        arguments[i].put(DNNL_ARG_WEIGHTS, packed);
        arguments[i].put(DNNL_ARG_DST, yMemory);
        if (scales != null) {
          arguments[i].put(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, scales);
        }
      }
    }

    private Tensor own(Tensor tensor) {
      owned.add(tensor);
      return tensor;
    }

    // Ours are [out, groups], its are [groups, out].
    private memory scales() {
      long groups = weights.scale().size(1);
      float[] ours = weights.scale().toFloats();
      float[] theirs = new float[ours.length];
      for (int i = 0; i < ours.length; i++) {
        theirs[(int) (i % groups * data.out + i / groups)] = ours[i];
      }
      Tensor tensor = own(Tensor.of(theirs, groups, data.out));
      long[] shape = groups == 1 ? new long[] {data.out} : new long[] {groups, data.out};
      memory.format_tag tag = groups == 1 ? memory.format_tag.a : memory.format_tag.ab;
      return new memory(new memory.desc(shape, memory.data_type.f32, tag), cpu, Address.of(tensor));
    }

    // The weights [out, in] are columns of its [in, out]. Its int4 is in two's complement.
    private memory plain(long[] matrix, memory.data_type type) {
      Tensor tensor = weights.q() == null ? weights.values() : weights.q();
      if (type == memory.data_type.s4) {
        Tensor nibbles = own(Tensor.allocate(data.device, DType.U8, data.out, data.in / 2));
        byte[] q = tensor.toBytes();
        for (int i = 0; i < q.length; i++) {
          q[i] ^= (byte) 0x88;
        }
        nibbles.withBuffer(0, q.length, buffer -> buffer.put(q));
        tensor = nibbles;
      }
      return new memory(
          new memory.desc(matrix, type, memory.format_tag.ba), cpu, Address.of(tensor));
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public WeightData weights() {
      return weights;
    }

    @Override
    public Precision precision() {
      return quantized ? Precision.BYTES : Precision.FLOAT;
    }

    @Override
    public int copies() {
      return arguments.length;
    }

    @Override
    public int run(int count) {
      for (int i = 0; i < count; i++) {
        primitive.execute(stream, arguments[i]);
      }
      stream._wait();
      return count;
    }

    @Override
    public String remark() {
      return quantized ? x.remark(y, weights) : "";
    }

    @Override
    public float[] result() {
      return quantized ? x.dequantized(y, weights) : y.toFloats();
    }

    @Override
    public long bytes() {
      return bytes;
    }

    @Override
    public void close() {
      owned.forEach(Tensor::close);
      if (x != null) {
        x.close();
      }
    }
  }
}
