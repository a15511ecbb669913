package dev.sinew.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/**
 * Columns of text. Rows can be printed as soon as they are known, since widths are set beforehand;
 * a cell that is wider than its column pushes the rest of its row to the right.
 */
final class Table {
  private record Column(String title, boolean left, int width) {}

  private final List<Column> columns = new ArrayList<>();

  /** A column of text. */
  Table left(String title, int width) {
    columns.add(new Column(title, true, Math.max(width, title.length())));
    return this;
  }

  /** A column of numbers. */
  Table right(String title, int width) {
    columns.add(new Column(title, false, Math.max(width, title.length())));
    return this;
  }

  void header(PrintWriter out) {
    row(out, columns.stream().map(Column::title).toList());
  }

  void row(PrintWriter out, Object... cells) {
    row(out, List.of(cells));
  }

  private void row(PrintWriter out, List<?> cells) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < cells.size(); i++) {
      Column column = columns.get(i);
      String cell = String.valueOf(cells.get(i));
      String space = " ".repeat(Math.max(0, column.width - cell.codePointCount(0, cell.length())));
      line.append(i == 0 ? "" : "  ")
          .append(column.left ? "" : space)
          .append(cell)
          .append(column.left ? space : "");
    }
    out.println(line.toString().stripTrailing());
  }
}
