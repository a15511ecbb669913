package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class TcpBootstrapTest {
  private static final Duration LONG = Duration.ofSeconds(20);

  private final ExecutorService threads = Executors.newCachedThreadPool();

  @AfterEach
  void end() {
    threads.shutdownNow();
  }

  private static Map<String, String> environment(int rank, int size, int port) {
    Map<String, String> environment = new HashMap<>();
    environment.put("RANK", "" + rank);
    environment.put("WORLD_SIZE", "" + size);
    environment.put("LOCAL_RANK", "0");
    environment.put("MASTER_ADDR", "127.0.0.1");
    environment.put("MASTER_PORT", "" + port);
    return environment;
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  private CompletableFuture<byte[]> share(int rank, int size, int port, Duration timeout) {
    byte[] own = new byte[128];
    own[0] = (byte) (rank + 1);
    own[127] = 77;
    return CompletableFuture.supplyAsync(
        () -> TcpBootstrap.of(environment(rank, size, port)).meet(own, false, timeout).bytes(),
        threads);
  }

  private static RankFailedException failure(CompletableFuture<byte[]> future) {
    CompletionException e = assertThrows(CompletionException.class, future::join);
    return (RankFailedException) e.getCause();
  }

  @Test
  void everyRankGetsTheBytesOfRank0() throws Exception {
    for (int size : new int[] {1, 2, 5}) {
      int port = freePort();
      List<CompletableFuture<byte[]>> ranks = new ArrayList<>();
      for (int r = size - 1; r >= 0; r--) {
        ranks.add(share(r, size, port, LONG));
      }
      byte[] expected = new byte[128];
      expected[0] = 1;
      expected[127] = 77;
      for (CompletableFuture<byte[]> rank : ranks) {
        assertArrayEquals(expected, rank.join());
      }
    }
  }

  @Test
  void strangersAreIgnored() throws Exception {
    int port = freePort();
    CompletableFuture<byte[]> first = share(0, 2, port, LONG);
    for (String words : new String[] {"GET / HTTP/1.1\r\n\r\n", ""}) {
      for (boolean sent = false; !sent; ) {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
          socket.getOutputStream().write(words.getBytes());
          sent = true;
        } catch (IOException e) {
          Thread.sleep(5); // rank 0 does not listen yet
        }
      }
    }
    CompletableFuture<byte[]> second = share(1, 2, port, LONG);
    assertArrayEquals(first.join(), second.join());
  }

  @Test
  void ranksThatDoNotComeAreNamed() throws Exception {
    int port = freePort();
    CompletableFuture<byte[]> zero = share(0, 4, port, Duration.ofMillis(600));
    CompletableFuture<byte[]> two = share(2, 4, port, LONG);
    String wanted = "rank 1, 3 has not come to 127.0.0.1:" + port + " within 0.6 s";
    RankFailedException e = failure(zero);
    assertEquals(wanted, e.getMessage());
    assertEquals(1, e.rank());
    assertEquals(wanted, failure(two).getMessage());

    e = failure(share(1, 2, freePort(), Duration.ofMillis(200)));
    assertTrue(e.getMessage().startsWith("rank 0 has not answered at 127.0.0.1:"), e.getMessage());
    assertEquals(0, e.rank());
  }

  @Test
  void ranksThatDoNotFitAreNamed() throws Exception {
    int port = freePort();
    CompletableFuture<byte[]> zero = share(0, 2, port, LONG);
    String wanted = "rank 2 has WORLD_SIZE 3 where rank 0 has WORLD_SIZE 2";
    assertEquals(wanted, failure(share(2, 3, port, LONG)).getMessage());
    assertEquals(wanted, failure(zero).getMessage());

    int other = freePort();
    zero = share(0, 3, other, LONG);
    CompletableFuture<byte[]> one = share(1, 3, other, LONG);
    CompletableFuture<byte[]> again = share(1, 3, other, LONG);
    for (CompletableFuture<byte[]> rank : List.of(zero, one, again)) {
      assertEquals("there are two ranks with RANK 1", failure(rank).getMessage());
    }
  }

  @Test
  void aPortThatIsTakenIsSaid() throws Exception {
    try (ServerSocket taken = new ServerSocket(0)) {
      RankFailedException e = failure(share(0, 2, taken.getLocalPort(), LONG));
      assertTrue(e.getMessage().startsWith("the ranks could not meet at 127.0.0.1:"));
    }
  }

  @Test
  void theEnvironmentIsChecked() {
    assertRefused("RANK", null, "the environment variable RANK is not set; start the ranks with");
    assertRefused("MASTER_ADDR", null, "the environment variable MASTER_ADDR is not set");
    assertRefused("RANK", "2", "RANK is '2', not a number from 0 to 1");
    assertRefused("WORLD_SIZE", "0", "WORLD_SIZE is '0', not a number from 1 to 65536");
    assertRefused("WORLD_SIZE", "two", "WORLD_SIZE is 'two', not a number");
    assertRefused("MASTER_PORT", "65536", "MASTER_PORT is '65536', not a number from 1 to 65535");
    assertRefused("LOCAL_RANK", "-1", "LOCAL_RANK is '-1', not a number from 0 to 1");
    Map<String, String> environment = environment(1, 2, 1234);
    environment.remove("LOCAL_RANK");
    assertEquals(new TcpBootstrap(1, 2, 0, "127.0.0.1", 1234), TcpBootstrap.of(environment));
  }

  @Test
  void ncclSaysWhatIsMissing() {
    IllegalStateException e =
        assertThrows(
            IllegalStateException.class, () -> Communicator.nccl(Map.of("RANK", "0"), LONG));
    assertTrue(e.getMessage().contains("WORLD_SIZE is not set"), e.getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> Communicator.nccl(environment(0, 1, 1234), Duration.ZERO));
  }

  private static void assertRefused(String name, String value, String message) {
    Map<String, String> environment = environment(1, 2, 1234);
    if (value == null) {
      environment.remove(name);
    } else {
      environment.put(name, value);
    }
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> TcpBootstrap.of(environment));
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }
}
