package dev.sinew.pass;

import java.io.IOException;

/** Takes what passes make of tiles. Used by many threads. */
interface TileSink extends PassRun.Emitter {
  /** Takes the data of a tile as all passes have left it. */
  void take(Tile tile, TileGrid grid) throws IOException;

  /** Tiles that hold part of a row begin at a multiple of this column. */
  default long columns() {
    return 1;
  }
}
