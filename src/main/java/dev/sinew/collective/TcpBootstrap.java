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
 * scripts set. Rank 0 listens on MASTER_PORT until all have come. Like NCCL itself this trusts the
 * network; a connection that does not speak the protocol is closed and otherwise ignored.
 *
 * @param localRank which GPU of its host the rank takes
 */
record TcpBootstrap(int rank, int size, int localRank, String address, int port) {
  private static final long PROTOCOL = 0x53696e65774e4331L;
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
   * The bytes of rank 0, on every rank.
   *
   * @param own what rank 0 gives; the others' length counts only
   * @throws RankFailedException if not all have come in time, or they do not fit together
   */
  byte[] share(byte[] own, Duration timeout) {
    long deadline = System.nanoTime() + timeout.toNanos();
    try {
      return rank == 0 ? give(own, deadline, timeout) : take(own.length, deadline, timeout);
    } catch (IOException e) {
      throw new RankFailedException(
          -1, "the ranks could not meet at " + address + ":" + port + ": " + e.getMessage());
    }
  }

  private byte[] give(byte[] own, long deadline, Duration timeout) throws IOException {
    Socket[] ranks = new Socket[size];
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
        answer(ranks[r], own, "");
      }
      return own;
    } catch (RankFailedException e) {
      for (Socket socket : ranks) {
        if (socket != null) {
          answer(socket, new byte[0], e.getMessage());
        }
      }
      throw e;
    } finally {
      for (Socket socket : ranks) {
        if (socket != null) {
          socket.close();
        }
      }
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
      answer(socket, new byte[0], wrong);
      socket.close();
      throw new RankFailedException(itsRank, wrong);
    }
    ranks[itsRank] = socket;
    return true;
  }

  private static void answer(Socket socket, byte[] bytes, String wrong) {
    try {
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      out.writeUTF(wrong);
      out.write(bytes);
      out.flush();
    } catch (IOException e) {
      // It has gone, which the others see when they compute with it.
    }
  }

  private byte[] take(int length, long deadline, Duration timeout) throws IOException {
    while (true) {
      try (Socket socket = new Socket()) {
        socket.connect(new InetSocketAddress(address, port), milliseconds(deadline));
        socket.setSoTimeout(milliseconds(deadline));
        DataOutputStream out = new DataOutputStream(socket.getOutputStream());
        out.writeLong(PROTOCOL);
        out.writeInt(rank);
        out.writeInt(size);
        out.flush();
        DataInputStream in = new DataInputStream(socket.getInputStream());
        String wrong = in.readUTF();
        if (!wrong.isEmpty()) {
          throw new RankFailedException(-1, wrong);
        }
        byte[] bytes = new byte[length];
        in.readFully(bytes);
        return bytes;
      } catch (IOException e) {
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

  private static int milliseconds(long deadline) {
    return (int) Math.max(1, Math.min(Integer.MAX_VALUE, (deadline - System.nanoTime()) / 1000000));
  }

  private static String seconds(Duration timeout) {
    return Double.toString(timeout.toMillis() / 1000.0);
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
