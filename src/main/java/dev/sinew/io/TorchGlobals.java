package dev.sinew.io;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import dev.sinew.io.Pickle.Arguments;
import dev.sinew.io.Pickle.Dictionary;
import dev.sinew.io.Pickle.ElementType;
import dev.sinew.io.Pickle.Function;
import dev.sinew.io.Pickle.LateTensor;
import dev.sinew.io.Pickle.Opaque;
import dev.sinew.io.Pickle.Sequence;
import dev.sinew.io.Pickle.Storage;
import dev.sinew.io.Pickle.StorageType;
import dev.sinew.io.Pickle.Tensor;
import dev.sinew.io.Pickle.TensorClass;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The only names that a checkpoint's pickle may refer to, after the allow-list of {@code
 * torch/_weights_only_unpickler.py}, and classes of plain data that training scripts leave beside
 * the weights, such as {@code argparse.Namespace} and NumPy scalars. A function here makes a plain
 * value from its arguments; no class is looked up and no code of the file runs.
 */
final class TorchGlobals {
  private static final Map<String, Object> ALLOWED = new HashMap<>();

  /** Names that torch itself writes for what Sinew does not read: what they make. */
  private static final Map<String, String> REFUSED =
      Map.of(
          "torch._utils._rebuild_qtensor", "a quantized tensor",
          "torch._utils._rebuild_sparse_tensor", "a sparse tensor",
          "torch._utils._rebuild_sparse_csr_tensor", "a sparse tensor",
          "torch._utils._rebuild_nested_tensor", "a nested tensor",
          "torch._utils._rebuild_meta_tensor_no_storage", "a meta tensor (it has no data)",
          "torch._utils._rebuild_wrapper_subclass", "a tensor subclass without a storage");

  static {
    storage("DoubleStorage", "float64", DType.F64);
    storage("FloatStorage", "float32", DType.F32);
    storage("HalfStorage", "float16", DType.F16);
    storage("BFloat16Storage", "bfloat16", DType.BF16);
    storage("LongStorage", "int64", DType.I64);
    storage("IntStorage", "int32", DType.I32);
    storage("ShortStorage", "int16", DType.I16);
    storage("CharStorage", "int8", DType.I8);
    storage("ByteStorage", "uint8", DType.U8);
    storage("BoolStorage", "bool", DType.BOOL);
    storage("ComplexFloatStorage", "complex64", DType.C64);
    storage("ComplexDoubleStorage", "complex128", null);
    storage("QInt8Storage", "qint8", null);
    storage("QUInt8Storage", "quint8", null);
    storage("QInt32Storage", "qint32", null);
    storage("QUInt4x2Storage", "quint4x2", null);
    storage("QUInt2x4Storage", "quint2x4", null);
    // An untyped storage counts bytes; torch reads a tensor without its own dtype over it as uint8.
    storage("UntypedStorage", "uint8", DType.U8);
    dtype("uint16", DType.U16);
    dtype("uint32", DType.U32);
    dtype("uint64", DType.U64);
    dtype("float8_e4m3fn", DType.F8_E4M3);
    dtype("float8_e5m2", DType.F8_E5M2);
    dtype("float8_e8m0fnu", DType.F8_E8M0);
    dtype("float8_e4m3fnuz", DType.F8_E4M3FNUZ);
    dtype("float8_e5m2fnuz", DType.F8_E5M2FNUZ);
    // Known by name, so that the message can name the tensor that has the type.
    for (String name : List.of("complex32", "float4_e2m1fn_x2", "bits8", "bits16")) {
      dtype(name, null);
    }
    for (int bits = 1; bits < 8; bits++) {
      dtype("int" + bits, null);
      dtype("uint" + bits, null);
    }

    function("torch._utils._rebuild_tensor", TorchGlobals::rebuildTensor);
    function("torch._utils._rebuild_tensor_v2", TorchGlobals::rebuildTensorV2);
    function("torch._utils._rebuild_tensor_v3", TorchGlobals::rebuildTensorV3);
    function("torch._utils._rebuild_parameter", a -> a.tensor(0));
    function("torch._utils._rebuild_parameter_with_state", a -> a.tensor(0));
    for (String name :
        List.of("torch.nn.parameter.Parameter", "torch.autograd.variable.Variable")) {
      function(name, a -> a.count() == 0 ? new LateTensor(name) : a.tensor(0));
    }
    function("torch._tensor._rebuild_from_type_v2", TorchGlobals::rebuildFromType);
    function("torch.Size", a -> new Sequence("torch.Size", a.items(0)));
    function("torch.device", a -> new Opaque("torch.device"));
    function("torch.serialization._get_layout", a -> new Opaque("torch.layout"));

    function("collections.OrderedDict", a -> dictionary("OrderedDict", a, 0));
    function("collections.Counter", a -> dictionary("Counter", a, 0));
    function("collections.defaultdict", a -> dictionary("defaultdict", a, 1));
    function("builtins.set", a -> sequence("set", a));
    function("builtins.frozenset", a -> sequence("frozenset", a));
    function("builtins.bytes", a -> new Opaque("bytes"));
    function("builtins.bytearray", a -> new Opaque("bytearray"));
    function("builtins.complex", a -> new Opaque("complex"));
    function("collections.deque", a -> sequence("deque", a));
    function("_codecs.encode", a -> new Opaque("bytes"));

    for (String name : List.of("argparse.Namespace", "types.SimpleNamespace")) {
      function(name, a -> new Dictionary(name, true));
    }
    for (String name :
        List.of(
            "easydict.EasyDict",
            "munch.Munch",
            "yacs.config.CfgNode",
            "pytorch_lightning.utilities.parsing.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict",
            "lightning.fabric.utilities.data.AttributeDict")) {
      function(name, a -> dictionary(name, a, 0));
    }
    for (String numpy : List.of("numpy.core", "numpy._core")) {
      plain(true, numpy + ".multiarray", "_reconstruct");
      plain(false, numpy + ".multiarray", "scalar");
      plain(false, numpy + ".numeric", "_frombuffer");
    }
    plain(true, "numpy", "dtype");
    plain(false, "datetime", "datetime", "date", "time", "timedelta", "timezone");
    for (String pathlib : List.of("pathlib", "pathlib._local")) {
      plain(false, pathlib, "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath");
    }
    plain(false, "builtins", "slice", "range", "xrange");

    for (String type :
        List.of(
            "torch.Tensor",
            "numpy.ndarray",
            "builtins.list",
            "builtins.dict",
            "builtins.tuple",
            "builtins.int",
            "builtins.long",
            "builtins.float",
            "builtins.str",
            "builtins.unicode",
            "builtins.bool")) {
      ALLOWED.put(type, new Opaque(type));
    }
  }

  private TorchGlobals() {}

  /**
   * What a name stands for: a {@link Function}, {@link StorageType}, {@link TensorClass}, {@link
   * ElementType} or {@link Opaque}.
   *
   * @throws PickleException naming it, if it is not on the list
   */
  static Object resolve(String module, String name) throws PickleException {
    String full = (module.equals("__builtin__") ? "builtins" : module) + "." + name;
    Object value = ALLOWED.get(full);
    if (value != null) {
      return value;
    }
    String refused = REFUSED.get(full);
    if (refused != null) {
      throw new PickleException(
          "there is "
              + refused
              + " ("
              + full
              + "), and Sinew reads dense tensors only; convert it in PyTorch and save a plain"
              + " state_dict");
    }
    throw new PickleException(
        "it refers to "
            + Messages.brief(full)
            + ", and Sinew executes nothing from files; save a plain state_dict instead"
            + " (torch.save(model.state_dict(), ...))");
  }

  private static void function(String name, Function.Body body) {
    ALLOWED.put(name, new Function(name, body));
  }

  private static void dtype(String name, DType dtype) {
    ALLOWED.put("torch." + name, new ElementType("torch." + name, dtype));
  }

  private static void storage(String name, String elements, DType dtype) {
    dtype(elements, dtype);
    StorageType type =
        new StorageType("torch." + name, new ElementType("torch." + elements, dtype));
    for (String module : List.of("torch.", "torch.cuda.", "torch.storage.")) {
      ALLOWED.put(module + name, type);
    }
    String tensor = name.replace("Storage", "Tensor");
    for (String module : List.of("torch.", "torch.cuda.")) {
      ALLOWED.put(module + tensor, new TensorClass("torch." + tensor, type.elements()));
    }
  }

  /** Classes of which instances are plain data: a call makes a value that is passed over. */
  private static void plain(boolean stateful, String module, String... names) {
    for (String name : names) {
      String full = module + "." + name;
      function(full, a -> new Opaque(full, stateful));
    }
  }

  // _rebuild_tensor(storage, storage_offset, size, stride)
  private static Tensor rebuildTensor(Arguments a) throws PickleException {
    Storage storage = a.get(0, Storage.class, "a storage");
    return tensor(storage, storage.type().elements(), a);
  }

  // _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks, metadata=None)
  private static Tensor rebuildTensorV2(Arguments a) throws PickleException {
    refuseMetadata(a, 6);
    return rebuildTensor(a);
  }

  // _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None)
  private static Tensor rebuildTensorV3(Arguments a) throws PickleException {
    refuseMetadata(a, 7);
    return tensor(a.get(0, Storage.class, "a storage"), a.get(6, ElementType.class, "a dtype"), a);
  }

  private static Tensor tensor(Storage storage, ElementType elements, Arguments a)
      throws PickleException {
    long[] size = a.integers(2);
    long[] stride = a.integers(3);
    if (size.length != stride.length) {
      throw PickleException.damaged(
          "a tensor of " + size.length + " dimensions has " + stride.length + " strides");
    }
    return new Tensor(storage, elements, a.integer(1), size, stride);
  }

  /** The metadata of a tensor says that its data is to be negated or conjugated when read. */
  private static void refuseMetadata(Arguments a, int index) throws PickleException {
    if (a.count() > index && a.value(index) instanceof Dictionary metadata && !metadata.isEmpty()) {
      throw new PickleException(
          "there is a tensor that is negated or conjugated lazily; call resolve_neg() and"
              + " resolve_conj() before saving it");
    }
  }

  /**
   * The tensor that a state describes, as PyTorch before 0.2 wrote it: (storage, offset, size,
   * stride) of a tensor, (data, gradient, hooks, requires_grad, volatile) of a variable or
   * parameter.
   */
  static Tensor tensorOfState(Arguments a) throws PickleException {
    return switch (a.count()) {
      case 4 -> rebuildTensor(a);
      case 5 -> a.tensor(0);
      default ->
          throw PickleException.damaged(
              "a " + a.function() + " has a state of " + a.count() + " values");
    };
  }

  // _rebuild_from_type_v2(function, type, arguments, state)
  private static Object rebuildFromType(Arguments a) throws PickleException {
    Function rebuild = a.get(0, Function.class, "a function");
    // torch never nests these; a file that does could exhaust the Java stack.
    if (!rebuild.name().startsWith("torch._utils._rebuild_")) {
      throw PickleException.damaged("a tensor is rebuilt with " + rebuild.name());
    }
    Sequence arguments = a.get(2, Sequence.class, "a tuple");
    return rebuild.body().apply(new Arguments(rebuild.name(), arguments.items()));
  }

  private static Dictionary dictionary(String type, Arguments a, int pairs) throws PickleException {
    Dictionary dictionary = new Dictionary(type);
    if (a.count() > pairs) {
      a.forEachPair(pairs, dictionary::put);
    }
    return dictionary;
  }

  private static Sequence sequence(String type, Arguments a) throws PickleException {
    return new Sequence(type, a.count() == 0 ? new ArrayList<>() : a.items(0));
  }
}
