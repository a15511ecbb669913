package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Scope;
import dev.sinew.internal.Messages;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.ClusteredTensor;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Shows the tensors of a checkpoint as real numbers, whatever form they are stored in. */
public final class Decoding {
  private Decoding() {}

  /**
   * A view of a checkpoint in which encoded tensors are dense and real: those stored with a bitmap
   * are dense, then quantized and clustered ones are F32 under their plain names, decoded while
   * they are read. What they are made of (bitmaps, scales, zero points, codebooks, shapes) is
   * hidden. A checkpoint without encoded tensors is returned as it is.
   *
   * <p>Closing the view closes the checkpoint.
   *
   * @throws IOException if stored tensors stand side by side as if they encoded one, but do not fit
   *     together
   */
  public static Checkpoint view(Checkpoint checkpoint) throws IOException {
    return view(checkpoint, DType.F32);
  }

  /**
   * As {@link #view(Checkpoint)}, but what is quantized or clustered has a type of the caller's
   * choice, rounded once, instead of F32.
   *
   * @param type F64, F32, F16 or BF16; or null for the type of each tensor's scales, which
   *     compressed-tensors gives the type of the model
   */
  public static Checkpoint view(Checkpoint checkpoint, DType type) throws IOException {
    if (type != null && !type.isFloating()) {
      throw new IllegalArgumentException("weights cannot be decoded to " + type);
    }
    Checkpoint dense = dense(checkpoint);
    List<EncodedTensor> encoded = new ArrayList<>();
    for (QuantizedTensor tensor : QuantizedTensor.find(dense).values()) {
      DType shown = type != null ? type : tensor.scale().dtype();
      encoded.add(typed(new QuantizedDecoder(tensor), shown));
    }
    for (ClusteredTensor tensor : ClusteredTensor.find(dense).values()) {
      encoded.add(typed(new ClusteredDecoder(tensor), type != null ? type : DType.F32));
    }
    return view(dense, encoded);
  }

  private static EncodedTensor typed(EncodedTensor tensor, DType type) {
    return type == DType.F32 ? tensor : new TypedTensor(tensor, type);
  }

  /**
   * As {@link #view(Checkpoint)}, but quantized and clustered tensors stay integers: only those
   * stored with a bitmap ({@link BitmapTensor}) are decoded, to the very bits they had.
   */
  public static Checkpoint dense(Checkpoint checkpoint) throws IOException {
    return view(
        checkpoint,
        BitmapTensor.find(checkpoint).values().stream()
            .<EncodedTensor>map(BitmapDecoder::new)
            .toList());
  }

  /**
   * Reads what a quantized tensor is made of, for kernels that compute with integers and 8-bit
   * floats as they are.
   *
   * @param checkpoint one that {@link QuantizedTensor#find} has found the tensor in; as {@link
   *     #dense} shows it if its values are stored with a bitmap
   * @param scope gets the tensors
   */
  public static QuantizedParts parts(Checkpoint checkpoint, QuantizedTensor tensor, Scope scope)
      throws IOException {
    return new QuantizedDecoder(tensor).parts(checkpoint, scope);
  }

  /** A view of {@code source} with these tensors decoded. */
  private static Checkpoint view(Checkpoint source, Collection<EncodedTensor> encoded) {
    return encoded.isEmpty() ? source : new View(source, encoded);
  }

  private static final class View implements Checkpoint {
    private final Checkpoint source;
    private final Map<String, EncodedTensor> encoded = new HashMap<>();
    private final Map<String, TensorInfo> tensors;

    View(Checkpoint source, Collection<EncodedTensor> tensors) {
      this.source = source;
      Map<String, EncodedTensor> anchors = new HashMap<>();
      Set<String> hidden = new HashSet<>();
      for (EncodedTensor tensor : tensors) {
        encoded.put(tensor.logical().name(), tensor);
        anchors.put(tensor.anchor(), tensor);
        hidden.addAll(tensor.parts());
      }
      Map<String, TensorInfo> visible = new LinkedHashMap<>();
      for (TensorInfo stored : source.tensors().values()) {
        EncodedTensor tensor = anchors.get(stored.name());
        if (tensor != null) {
          visible.put(tensor.logical().name(), tensor.logical());
        } else if (!hidden.contains(stored.name())) {
          visible.put(stored.name(), stored);
        }
      }
      this.tensors = Collections.unmodifiableMap(visible);
    }

    @Override
    public Path path() {
      return source.path();
    }

    @Override
    public String format() {
      return source.format();
    }

    @Override
    public Map<String, TensorInfo> tensors() {
      return tensors;
    }

    @Override
    public Map<String, String> metadata() {
      return source.metadata();
    }

    @Override
    public Optional<FileRegion> region(String tensor) {
      requireVisible(tensor);
      return encoded.containsKey(tensor) ? Optional.empty() : source.region(tensor);
    }

    private TensorInfo requireVisible(String name) {
      TensorInfo tensor = tensors.get(name);
      if (tensor == null) {
        throw new IllegalArgumentException(
            Messages.quote(path()) + " has no tensor " + Messages.quote(name));
      }
      return tensor;
    }

    @Override
    public void read(String name, long byteOffset, ByteBuffer target) throws IOException {
      TensorInfo tensor = requireVisible(name);
      EncodedTensor decoder = encoded.get(name);
      if (decoder == null) {
        source.read(name, byteOffset, target);
        return;
      }
      tensor.requireRange(byteOffset, target.remaining());
      decoder.read(source, byteOffset, target);
    }

    @Override
    public void close() throws IOException {
      source.close();
    }
  }
}
