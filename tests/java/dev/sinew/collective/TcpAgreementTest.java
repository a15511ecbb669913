package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.DType;
import dev.sinew.internal.SinewNative;
import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class TcpAgreementTest {
  private static final Duration LONG = Duration.ofSeconds(20);

  private final ExecutorService threads = Executors.newCachedThreadPool();

  @AfterEach
  void end() {
    threads.shutdownNow();
  }

  private List<Agreement> group(int size, boolean keeps, Duration timeout) throws IOException {
    int port;
    try (ServerSocket socket = new ServerSocket(0)) {
      port = socket.getLocalPort();
    }
    List<CompletableFuture<Agreement>> ranks = new ArrayList<>();
    for (int r = 0; r < size; r++) {
      TcpBootstrap rank = new TcpBootstrap(r, size, 0, "127.0.0.1", port);
      // Rank 0 decides.
      boolean wish = (r == 0) == keeps;
      ranks.add(
          CompletableFuture.supplyAsync(
              () -> rank.meet(new byte[3], wish, timeout).agreement(), threads));
    }
    return ranks.stream().map(CompletableFuture::join).toList();
  }

  // What each of these ranks hears: "" or who failed and why.
  private List<String> agree(List<Agreement> group, IntFunction<Agreement.Request> request) {
    List<CompletableFuture<Void>> ranks = new ArrayList<>();
    for (int r = 0; r < group.size(); r++) {
      int rank = r;
      if (request.apply(r) != null) {
        ranks.add(
            CompletableFuture.runAsync(() -> group.get(rank).agree(request.apply(rank)), threads));
      }
    }
    List<String> said = new ArrayList<>();
    for (CompletableFuture<Void> rank : ranks) {
      try {
        rank.join();
        said.add("");
      } catch (CompletionException e) {
        RankFailedException failure = (RankFailedException) e.getCause();
        said.add(failure.rank() + ": " + failure.getMessage());
      }
    }
    return said;
  }

  private static Agreement.Request allReduce(long elements) {
    return new Agreement.Request(
        SinewNative.SN_ALL_REDUCE, DType.BF16, SinewNative.SN_AVERAGE, 0, elements);
  }

  @Test
  void whatIsTheSameIsAgreedOn() throws Exception {
    for (int size : new int[] {1, 2, 5}) {
      List<Agreement> group = group(size, true, LONG);
      for (long n = 0; n < 200; n++) {
        long elements = n << 30;
        List<String> said = agree(group, r -> allReduce(elements));
        assertEquals(List.of("").toString(), said.stream().distinct().toList().toString());
      }
      group.forEach(Agreement::close);
    }
    for (Agreement none : group(3, false, LONG)) {
      assertSame(Agreement.NONE, none);
    }
  }

  private void assertDifference(
      String difference, Agreement.Request of1, Agreement.Request ofOthers) throws IOException {
    List<Agreement> group = group(3, true, LONG);
    String said = "1: " + difference;
    assertEquals(List.of(said, said, said), agree(group, r -> r == 1 ? of1 : ofOthers));
    group.forEach(Agreement::close);
  }

  @Test
  void everyDifferenceIsNamed() throws Exception {
    assertDifference(
        "rank 1 has 1001 elements where rank 0 has 1000, in all-reduce",
        allReduce(1001),
        allReduce(1000));
    assertDifference(
        "rank 1 has F32 where rank 0 has BF16, in all-reduce",
        new Agreement.Request(0, DType.F32, SinewNative.SN_AVERAGE, 0, 7),
        allReduce(7));
    assertDifference(
        "rank 1 asks for the max where rank 0 asks for the average, in all-reduce",
        new Agreement.Request(0, DType.BF16, SinewNative.SN_MAX, 0, 7),
        allReduce(7));
    assertDifference(
        "rank 1 takes rank 2 for the root where rank 0 takes rank 0, in broadcast",
        new Agreement.Request(SinewNative.SN_BROADCAST, DType.I8, 0, 2, 7),
        new Agreement.Request(SinewNative.SN_BROADCAST, DType.I8, 0, 0, 7));
    assertDifference(
        "rank 1 calls barrier where rank 0 calls all-reduce",
        new Agreement.Request(SinewNative.SN_BARRIER, DType.F32, 0, 0, 1),
        allReduce(7));
  }

  @Test
  void ranksThatAreLateOrGoneAreNamed() throws Exception {
    List<Agreement> late = group(3, true, Duration.ofMillis(300));
    String said = "2: rank 2 has not called all-reduce within 0.3 s, or hangs in it";
    assertEquals(List.of(said, said), agree(late, r -> r == 2 ? null : allReduce(1)));
    late.forEach(Agreement::close);

    List<Agreement> withoutRank0 = group(2, true, Duration.ofMillis(300));
    assertEquals(
        List.of("0: rank 0 has not called all-reduce within 0.3 s, or hangs in it"),
        agree(withoutRank0, r -> r == 0 ? null : allReduce(1)));
    withoutRank0.forEach(Agreement::close);

    for (int gone : new int[] {0, 1}) {
      List<Agreement> group = group(2, true, LONG);
      group.get(gone).close();
      RankFailedException e =
          assertThrows(RankFailedException.class, () -> group.get(1 - gone).agree(allReduce(1)));
      assertEquals(
          "rank " + gone + " has closed its communicator or ended, before all-reduce was complete",
          e.getMessage());
      group.forEach(Agreement::close);
    }
  }
}
