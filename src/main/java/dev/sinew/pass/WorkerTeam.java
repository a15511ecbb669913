package dev.sinew.pass;

import dev.sinew.Device;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/** Threads with a workspace each, which share out numbered jobs in order. */
final class WorkerTeam implements AutoCloseable {
  private final List<Workspace> workspaces = new ArrayList<>();

  WorkerTeam(int workers, Device device) {
    for (int i = 0; i < workers; i++) {
      workspaces.add(new Workspace(i, device));
    }
  }

  /** A job with a worker's memory. */
  interface Job {
    void run(Workspace workspace, long index) throws IOException;
  }

  /**
   * Runs the jobs [0, count), begun in this order, and returns when all have ended. After a failure
   * no further job begins, {@code abort} is called to end any waiting inside jobs, and the first
   * failure is thrown.
   *
   * @throws InterruptedIOException if the calling thread was interrupted; it stays interrupted
   */
  void run(long count, Job job, Runnable abort) throws IOException {
    AtomicLong next = new AtomicLong();
    AtomicReference<Throwable> failure = new AtomicReference<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 1; i < Math.min(workspaces.size(), count); i++) {
      Workspace workspace = workspaces.get(i);
      Thread thread =
          new Thread(() -> work(workspace, count, job, next, failure, abort), "sinew-worker-" + i);
      thread.setDaemon(true);
      try {
        thread.start();
      } catch (OutOfMemoryError e) {
        // A limit on threads: those that did start do the work.
        break;
      }
      threads.add(thread);
    }
    work(workspaces.get(0), count, job, next, failure, abort);
    boolean interrupted = Thread.interrupted();
    for (Thread thread : threads) {
      while (true) {
        try {
          thread.join();
          break;
        } catch (InterruptedException e) {
          interrupted = true;
          next.set(count);
          abort.run();
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
      // Whatever else has failed, perhaps because an interrupt closes the file that is being read.
      InterruptedIOException interrupt = new InterruptedIOException("the work was interrupted");
      if (failure.get() != null) {
        interrupt.addSuppressed(failure.get());
      }
      throw interrupt;
    }
    rethrow(failure.get());
  }

  private static void work(
      Workspace workspace,
      long count,
      Job job,
      AtomicLong next,
      AtomicReference<Throwable> failure,
      Runnable abort) {
    try {
      for (long i = next.getAndIncrement(); i < count; i = next.getAndIncrement()) {
        job.run(workspace, i);
        workspace.recycle();
      }
    } catch (Throwable e) {
      next.set(count);
      failure.compareAndSet(null, e);
      abort.run();
    }
  }

  private static void rethrow(Throwable failure) throws IOException {
    if (failure instanceof IOException e) {
      throw e;
    }
    if (failure instanceof RuntimeException e) {
      throw e;
    }
    if (failure instanceof Error e) {
      throw e;
    }
  }

  @Override
  public void close() {
    workspaces.forEach(Workspace::close);
  }
}
