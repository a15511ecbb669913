package dev.sinew.collective;

import dev.sinew.DType;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.time.Duration;

/**
 * Ranks of many hosts agree over the connections by which they met: each tells rank 0 what it asks
 * for, and rank 0 answers all of them when it has heard from the last or has found a difference.
 */
final class TcpAgreement implements Agreement {
  // For rank 0's answer, which says more than that there is none, to arrive.
  private static final int GRACE_MILLISECONDS = 1000;
  private static final DType[] TYPES = DType.values();

  private final int rank;
  private final Socket[] sockets; // rank 0: by rank, null for itself; others: to rank 0
  private final Duration timeout;

  TcpAgreement(int rank, Socket[] sockets, Duration timeout) {
    this.rank = rank;
    this.sockets = sockets;
    this.timeout = timeout;
  }

  @Override
  public void agree(Request request) {
    if (rank == 0) {
      decide(request);
    } else {
      ask(request);
    }
  }

  private void decide(Request own) {
    long deadline = System.nanoTime() + timeout.toNanos();
    RankFailedException failure = null;
    for (int r = 1; r < sockets.length && failure == null; r++) {
      try {
        sockets[r].setSoTimeout(TcpBootstrap.milliseconds(deadline));
        Request its = read(new DataInputStream(sockets[r].getInputStream()));
        if (!its.equals(own)) {
          failure = new RankFailedException(r, its.differenceFrom(own, r, 0));
        }
      } catch (IOException e) {
        failure = failureOf(r, own, e);
      }
    }
    for (int r = 1; r < sockets.length; r++) {
      try {
        DataOutputStream out = new DataOutputStream(sockets[r].getOutputStream());
        out.writeInt(failure == null ? -1 : failure.rank());
        out.writeUTF(failure == null ? "" : failure.getMessage());
      } catch (IOException e) {
        // It has gone, which shows in the next call at the latest.
      }
    }
    if (failure != null) {
      throw failure;
    }
  }

  private void ask(Request own) {
    try {
      Socket socket = sockets[0];
      write(own, new DataOutputStream(socket.getOutputStream()));
      long deadline = System.nanoTime() + timeout.toNanos();
      socket.setSoTimeout(
          (int)
              Math.min(
                  Integer.MAX_VALUE,
                  (long) TcpBootstrap.milliseconds(deadline) + GRACE_MILLISECONDS));
      DataInputStream in = new DataInputStream(socket.getInputStream());
      int culprit = in.readInt();
      String wrong = in.readUTF();
      if (!wrong.isEmpty()) {
        throw new RankFailedException(culprit, wrong);
      }
    } catch (IOException e) {
      throw failureOf(0, own, e);
    }
  }

  private RankFailedException failureOf(int other, Request own, IOException e) {
    return new RankFailedException(
        other,
        e instanceof SocketTimeoutException
            ? "rank "
                + other
                + " has not called "
                + own.name()
                + " within "
                + TcpBootstrap.seconds(timeout)
                + " s, or hangs in it"
            : "rank "
                + other
                + " has closed its communicator or ended, before "
                + own.name()
                + " was complete");
  }

  private static void write(Request request, DataOutputStream out) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream data = new DataOutputStream(bytes);
    data.writeInt(request.operation());
    data.writeInt(request.dtype().ordinal());
    data.writeInt(request.reduction());
    data.writeInt(request.root());
    data.writeLong(request.elements());
    out.write(bytes.toByteArray()); // at once, as each write is a packet
  }

  private static Request read(DataInputStream in) throws IOException {
    int operation = in.readInt();
    int type = in.readInt();
    int reduction = in.readInt();
    int root = in.readInt();
    long elements = in.readLong();
    if (type < 0 || type >= TYPES.length) {
      throw new IOException("there is no dtype " + type);
    }
    return new Request(operation, TYPES[type], reduction, root, elements);
  }

  @Override
  public void close() {
    for (Socket socket : sockets) {
      TcpBootstrap.close(socket);
    }
  }
}
