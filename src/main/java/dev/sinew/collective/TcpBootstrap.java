package dev.sinew.collective;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.StringJoiner;

/**
 * How processes on many hosts get the few bytes of rank 0 by which a library of collectives finds
 * all of them: those from the environment variables that launchers such as torchrun and Slurm's
 * scripts set. Rank 0 listens on MASTER_PORT until all have come, and decides whether the
 * connections are kept. Like NCCL itself this trusts the network; a connection that does not speak
 * the protocol is closed and otherwise ignored.
 *
 * @param localRank which GPU of its host the rank takes
 */
record TcpBootstrap(int rank, int size, int localRank, String address, int port) {
  private static final long PROTOCOL = 0x53696e65774e4332L;
  private static final int MOST_SIZE = 1 << 16;
  private static final int RETRY_MILLISECONDS = 50;
  // One that connects says who it is at once.
  private static final int GREETING_MILLISECONDS = 1000;

  /**
   * What the environment says.
   *
   * @throws IllegalStateException if a variable is missing or is no such number
   */
  static TcpBootstrap of(Map<String, String> environment) {
    int size = number(environment, "WORLD_SIZE", 1, MOST_SIZE);
    int rank = number(environment, "RANK", 0, size - 1);
    int localRank =
        environment.containsKey("LOCAL_RANK") ? number(environment, "LOCAL_RANK", 0, rank) : 0;
    String address = environment.get("MASTER_ADDR");
    if (address == null || address.isEmpty()) {
      throw missing("MASTER_ADDR");
    }
    return new TcpBootstrap(
        rank, size, localRank, address, number(environment, "MASTER_PORT", 1, 65535));
  }

  private static IllegalStateException missing(String name) {
    return new IllegalStateException(
        "the environment variable "
            + name
            + " is not set; start the ranks with a launcher that sets RANK, WORLD_SIZE, LOCAL_RANK,"
            + " MASTER_ADDR and MASTER_PORT, such as torchrun");
  }

  private static int number(Map<String, String> environment, String name, int least, int most) {
    String text = environment.get(name);
    if (text == null) {
      throw missing(name);
    }
    try {
      int value = Integer.parseInt(text.strip());
      if (value >= least && value <= most) {
        return value;
      }
    } catch (NumberFormatException e) {
      // as one that does not fit
    }
    throw new IllegalStateException(
        "the environment variable "
            + name
            + " is '"
            + text
            + "', not a number from "
            + least
            + " to "
            + most);
  }

  /**
   * What the ranks have once they have met.
   *
   * @param bytes those of rank 0
   * @param agreement over the connections; {@link Agreement#NONE} if rank 0 does not keep them
   */
  record Met(byte[] bytes, Agreement agreement) {}

  /**
   * Meets the other ranks.
   *
   * @param own what rank 0 gives; the others' length counts only
   * @param keeps whether to keep the connections; rank 0's counts
   * @throws RankFailedException if not all have come in time, or they do not fit together
   */
  Met meet(byte[] own, boolean keeps, Duration timeout) {
    long deadline = System.nanoTime() + timeout.toNanos();
    Socket[] sockets = new Socket[rank == 0 ? size : 1];
    boolean kept = false;
    try {
      byte[] bytes = own;
      if (rank == 0) {
        give(sockets, own, keeps, deadline, timeout);
        kept = keeps;
      } else {
        bytes = new byte[own.length];
        kept = take(sockets, bytes, deadline, timeout);
      }
      return new Met(bytes, kept ? new TcpAgreement(rank, sockets, timeout) : Agreement.NONE);
    } catch (IOException e) {
      throw new RankFailedException(
          -1, "the ranks could not meet at " + address + ":" + port + ": " + e.getMessage());
    } finally {
      for (int s = 0; s < sockets.length && !kept; s++) {
        close(sockets[s]);
      }
    }
  }

  private void give(Socket[] ranks, byte[] own, boolean keeps, long deadline, Duration timeout)
      throws IOException {
    try (ServerSocket server = new ServerSocket()) {
      server.setReuseAddress(true);
      server.bind(new InetSocketAddress(port), size);
      for (int come = 1; come < size; ) {
        server.setSoTimeout(milliseconds(deadline));
        Socket socket;
        try {
          socket = server.accept();
        } catch (SocketTimeoutException e) {
          throw new RankFailedException(
              firstMissing(ranks),
              "rank "
                  + missingRanks(ranks)
                  + " has not come to "
                  + address
                  + ":"
                  + port
                  + " within "
                  + seconds(timeout)
                  + " s");
        }
        come += greeted(socket, ranks) ? 1 : 0;
      }
      for (int r = 1; r < size; r++) {
        answer(ranks[r], own, keeps, "");
      }
    } catch (RankFailedException e) {
      for (Socket socket : ranks) {
        if (socket != null) {
          answer(socket, new byte[0], false, e.getMessage());
        }
      }
      throw e;
    }
  }

  /** Whether it is a rank that was not there before. */
  private boolean greeted(Socket socket, Socket[] ranks) throws IOException {
    int itsRank;
    int itsSize;
    try {
      socket.setSoTimeout(GREETING_MILLISECONDS);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      if (in.readLong() != PROTOCOL) {
        socket.close();
        return false;
      }
      itsRank = in.readInt();
      itsSize = in.readInt();
    } catch (IOException e) {
      socket.close();
      return false;
    }
    String wrong = null;
    if (itsSize != size) {
      wrong =
          "rank " + itsRank + " has WORLD_SIZE " + itsSize + " where rank 0 has WORLD_SIZE " + size;
    } else if (itsRank < 1 || itsRank >= size || ranks[itsRank] != null) {
      wrong = "there are two ranks with RANK " + itsRank;
    }
    if (wrong != null) {
      answer(socket, new byte[0], false, wrong);
      socket.close();
      throw new RankFailedException(itsRank, wrong);
    }
    socket.setTcpNoDelay(true);
    ranks[itsRank] = socket;
    return true;
  }

  private static void answer(Socket socket, byte[] bytes, boolean keeps, String wrong) {
    try {
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      out.writeUTF(wrong);
      out.writeBoolean(keeps);
      out.write(bytes);
      out.flush();
    } catch (IOException e) {
      // It has gone, which the others see when they compute with it.
    }
  }

  // Whether the connection is to be kept.
  private boolean take(Socket[] toRank0, byte[] bytes, long deadline, Duration timeout) {
    while (true) {
      Socket socket = new Socket();
      try {
        socket.connect(new InetSocketAddress(address, port), milliseconds(deadline));
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(milliseconds(deadline));
        DataOutputStream out = new DataOutputStream(socket.getOutputStream());
        out.writeLong(PROTOCOL);
        out.writeInt(rank);
        out.writeInt(size);
        out.flush();
        DataInputStream in = new DataInputStream(socket.getInputStream());
        String wrong = in.readUTF();
        boolean kept = in.readBoolean();
        if (!wrong.isEmpty()) {
          close(socket);
          throw new RankFailedException(-1, wrong);
        }
        in.readFully(bytes);
        toRank0[0] = socket;
        return kept;
      } catch (IOException e) {
        close(socket);
        // Rank 0 does not listen yet, or its host cannot be reached.
        if (System.nanoTime() - deadline >= -RETRY_MILLISECONDS * 1_000_000L) {
          throw new RankFailedException(
              0,
              "rank 0 has not answered at "
                  + address
                  + ":"
                  + port
                  + " within "
                  + seconds(timeout)
                  + " s: "
                  + e.getMessage());
        }
        pause();
      }
    }
  }

  private static void pause() {
    try {
      Thread.sleep(RETRY_MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new RankFailedException(-1, "the thread was interrupted while ranks met");
    }
  }

  static int milliseconds(long deadline) {
    return (int) Math.max(1, Math.min(Integer.MAX_VALUE, (deadline - System.nanoTime()) / 1000000));
  }

  static String seconds(Duration timeout) {
    return Double.toString(timeout.toMillis() / 1000.0);
  }

  static void close(Socket socket) {
    if (socket == null) {
      return;
    }
    try {
      socket.close();
    } catch (IOException e) {
      // There is nothing left to do about it.
    }
  }

  private static int firstMissing(Socket[] ranks) {
    return 1 + Arrays.asList(ranks).subList(1, ranks.length).indexOf(null);
  }

  private static String missingRanks(Socket[] ranks) {
    StringJoiner missing = new StringJoiner(", ");
    for (int r = 1; r < ranks.length; r++) {
      if (ranks[r] == null) {
        missing.add("" + r);
      }
    }
    return missing.toString();
  }
}
