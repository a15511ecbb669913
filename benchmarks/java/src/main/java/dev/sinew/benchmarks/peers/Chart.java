package dev.sinew.benchmarks.peers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** Bars of how many times as fast as the best peer Sinew is, as SVG. */
final class Chart {
  private static final int LEFT = 330;
  private static final int WIDTH = 900;
  private static final int TOP = 50;
  private static final int ROW = 20;

  private Chart() {}

  static void write(Path file, List<Report.Duel> duels) throws IOException {
    double most = 1.5;
    for (Report.Duel duel : duels) {
      most = Math.max(most, duel.ratio());
    }
    double unit = (WIDTH - LEFT - 60) / most;
    int height = TOP + ROW * duels.size() + 20;
    StringBuilder svg = new StringBuilder();
    add(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">%n",
        WIDTH,
        height);
    add(svg, "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>%n", WIDTH, height);
    add(
        svg,
        "<text x=\"10\" y=\"20\" font-size=\"14\">Sinew against the best peer: times as fast (the line is 1)</text>%n");
    for (int i = 0; i < duels.size(); i++) {
      Report.Duel duel = duels.get(i);
      int y = TOP + ROW * i;
      double ratio = duel.ratio();
      add(
          svg,
          "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>%n",
          LEFT - 8,
          y + 13,
          duel.problem());
      add(
          svg,
          "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>%n",
          LEFT,
          y + 2,
          ratio * unit,
          ROW - 5,
          ratio >= 1 ? "#2a7f62" : "#c0603a");
      add(svg, "<text x=\"%.1f\" y=\"%d\">%.2f</text>%n", LEFT + ratio * unit + 4, y + 13, ratio);
    }
    add(
        svg,
        "<line x1=\"%1$.1f\" y1=\"%2$d\" x2=\"%1$.1f\" y2=\"%3$d\" stroke=\"black\"/>%n",
        LEFT + unit,
        TOP - 6,
        height - 14);
    svg.append("</svg>\n");
    Files.writeString(file, svg);
  }

  private static void add(StringBuilder svg, String format, Object... values) {
    svg.append(String.format(Locale.ROOT, format, values));
  }
}
