package dev.sinew.nn;

import java.util.List;

/**
 * What loading a module has done.
 *
 * @param missing names that the module has and the checkpoint lacks; a layer without them throws
 *     when it is run
 * @param leftOver names that the checkpoint has and the module lacks
 * @param storedBytes what the tensors that were read take in the checkpoint, with scales, bitmaps
 *     and codebooks
 * @param bytes what they take in memory now, see {@link Module#bytes}
 * @param readSeconds time spent on reading
 * @param packSeconds time spent on packing weights for the processor
 */
public record LoadReport(
    List<String> missing,
    List<String> leftOver,
    long storedBytes,
    long bytes,
    double readSeconds,
    double packSeconds) {
  public LoadReport {
    missing = List.copyOf(missing);
    leftOver = List.copyOf(leftOver);
  }
}
