package dev.sinew.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class MpiTest {
  @Test
  void aLibraryThatIsNotThere() {
    System.setProperty("sinew.mpi", "/nowhere/libsinew_mpi.so");
    try {
      UnsupportedOperationException e =
          assertThrows(UnsupportedOperationException.class, Communicator::mpi);
      assertEquals(
          true, e.getMessage().startsWith("MPI cannot be used, as its library"), e.getMessage());
    } finally {
      System.clearProperty("sinew.mpi");
    }
  }
}
