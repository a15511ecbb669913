package dev.sinew.benchmarks.peers;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemv;

import java.util.List;
import org.bytedeco.openblas.global.openblas_nolapack;

/** OpenBLAS, through JavaCPP's preset. */
final class OpenBlas implements Peer {
  @Override
  public String name() {
    return "OpenBLAS";
  }

  @Override
  public String version() {
    return String.valueOf(openblas_nolapack.class.getPackage().getImplementationVersion());
  }

  @Override
  public void setThreads(int threads) {
    openblas_nolapack.blas_set_num_threads(threads);
  }

  @Override
  public List<Contestant> contestants(Problem problem, LayerData data) {
    if (problem.work() != Problem.Work.F32) {
      return List.of();
    }
    int rows = (int) data.rows;
    int in = (int) data.in;
    int out = (int) data.out;
    return List.of(
        new RowMajorProduct(
            "OpenBLAS sgemm",
            problem,
            data,
            this::setThreads,
            (x, w, y) -> {
              if (rows == 1) {
                cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, w, in, x, 1, 0, y, 1);
              } else {
                cblas_sgemm(
                    CblasRowMajor,
                    CblasNoTrans,
                    CblasTrans,
                    rows,
                    out,
                    in,
                    1,
                    x,
                    in,
                    w,
                    in,
                    0,
                    y,
                    out);
              }
            }));
  }
}
