package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;

/** A part of a tensor on its way through the passes, in the hands of one worker thread. */
public final class Tile {
  private final Workspace workspace;
  private TensorInfo tensor;
  private long index;
  private long sequence;
  private long row;
  private long col;
  private Tensor data;
  private long zeros;

  Tile(Workspace workspace) {
    this.workspace = workspace;
  }

  void load(TensorInfo of, long tileIndex, long tileSequence, TileGrid grid, Tensor loaded) {
    tensor = of;
    index = tileIndex;
    sequence = tileSequence;
    row = grid.firstRow(tileIndex);
    col = grid.firstCol(tileIndex);
    data = loaded;
    zeros = -1;
  }

  /** The tensor this is part of, as it is in the input. */
  public TensorInfo tensor() {
    return tensor;
  }

  /** The number of this tile within its tensor, in index order. */
  public long index() {
    return index;
  }

  /** The number of this tile among all of the model, in the order of tensors and then of index. */
  long sequence() {
    return sequence;
  }

  /** The first row. */
  public long row() {
    return row;
  }

  /** The first column; 0 unless rows are cut. */
  public long col() {
    return col;
  }

  /** The data, [rows, cols] of this tile, on the device that computes. */
  public Tensor data() {
    return data;
  }

  /**
   * Puts other data in the place of {@link #data}, from {@link #scratch}, of as many rows and
   * columns; null if nothing is left to write.
   */
  public void replace(Tensor other) {
    data = other;
  }

  /** Says how many elements are zero now, for the report. */
  void countZeros(long count) {
    zeros = count;
  }

  /** Zeros counted, or -1. */
  long zeros() {
    return zeros;
  }

  /** The worker's number, from 0, for state that is kept once a worker. */
  public int worker() {
    return workspace.worker();
  }

  /**
   * Lends the bytes from {@code offset} on of data or scratch, to be read: on a GPU they are a
   * copy.
   */
  public <X extends Exception> void read(
      Tensor tensor, long offset, int bytes, Tensor.BufferUse<X> use) throws X {
    workspace.read(tensor, offset, bytes, use);
  }

  /** Lends all bytes of data or scratch, to be read: on a GPU they are a copy. */
  public <X extends Exception> void read(Tensor tensor, Tensor.BufferUse<X> use) throws X {
    read(tensor, 0, Math.toIntExact(tensor.byteSize()), use);
  }

  /** Lends the bytes of scratch to be written, all of them. */
  public <X extends Exception> void write(Tensor tensor, Tensor.BufferUse<X> use) throws X {
    workspace.write(tensor, use);
  }

  /** As {@link #scratch}, in the host's memory even if data is on a GPU. */
  Tensor hostScratch(String role, DType dtype, long... shape) {
    return workspace.host(role, dtype, shape);
  }

  /**
   * Memory of the worker's for intermediate results, uninitialized, valid until the next tile; the
   * same {@code role} gives the same memory again.
   */
  public Tensor scratch(String role, DType dtype, long... shape) {
    return workspace.tensor(role, dtype, shape);
  }
}
