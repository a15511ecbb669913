package dev.sinew.internal;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.bytedeco.javacpp.Pointer;

/**
 * A native object with its users counted, so that closing can never free it under a running call.
 *
 * <p>{@link #close} is the way to free it; a {@link Cleaner} on the owner is the backstop and
 * reports the leak. Safe for use by many threads.
 *
 * @param <P> the JavaCPP type of the native pointer
 */
public final class Handle<P extends Pointer> {
  private static final System.Logger LOGGER = System.getLogger("dev.sinew");
  private static final Cleaner CLEANER = Cleaner.create();
  private static final AtomicLong LIVE = new AtomicLong();
  private static final AtomicLong LEAKED = new AtomicLong();
  private static final AtomicLong CREATED = new AtomicLong();
  private static final int CLOSED = -1;

  private final P pointer;
  private final String what;
  private final AtomicInteger users = new AtomicInteger();
  private final Release<P> release;
  private final Cleaner.Cleanable cleanable;

  /**
   * @param owner the object whose reachability stands for this handle
   * @param what names the object in messages, for example {@code tensor}
   * @param free frees the native object; must not refer to the owner
   */
  public Handle(Object owner, String what, P pointer, Consumer<P> free) {
    this.pointer = pointer;
    this.what = what;
    this.release = new Release<>(what, pointer, free);
    LIVE.incrementAndGet();
    CREATED.incrementAndGet();
    this.cleanable = CLEANER.register(owner, release);
  }

  /** Handles created and not yet freed. */
  public static long live() {
    return LIVE.get();
  }

  /** Handles created so far: inference in its steady state creates none. */
  public static long created() {
    return CREATED.get();
  }

  /** Handles that were freed by the cleaner because nobody had closed them. */
  public static long leaked() {
    return LEAKED.get();
  }

  /**
   * Marks the object as in use until {@link #release}.
   *
   * @throws IllegalStateException if it is closed
   */
  public P acquire() {
    int count;
    do {
      count = users.get();
      if (count == CLOSED) {
        throw new IllegalStateException("the " + what + " is closed");
      }
    } while (!users.compareAndSet(count, count + 1));
    return pointer;
  }

  /** Ends one use. */
  public void release() {
    users.decrementAndGet();
  }

  public boolean isClosed() {
    return users.get() == CLOSED;
  }

  /**
   * Frees the object; does nothing if it is closed already.
   *
   * @throws IllegalStateException if a call is using it
   */
  public void close() {
    if (users.compareAndSet(0, CLOSED)) {
      release.explicit = true;
      cleanable.clean();
    } else if (users.get() != CLOSED) {
      throw new IllegalStateException(
          "the " + what + " is in use by a call and cannot be closed yet");
    }
  }

  private static final class Release<P extends Pointer> implements Runnable {
    private final String what;
    private final P pointer;
    private final Consumer<P> free;
    volatile boolean explicit;

    Release(String what, P pointer, Consumer<P> free) {
      this.what = what;
      this.pointer = pointer;
      this.free = free;
    }

    @Override
    public void run() {
      // First of all, so that a logger that fails cannot keep the memory.
      free.accept(pointer);
      LIVE.decrementAndGet();
      if (!explicit) {
        LEAKED.incrementAndGet();
        LOGGER.log(
            System.Logger.Level.WARNING,
            "a "
                + what
                + " was never closed; the garbage collector has freed it; use"
                + " try-with-resources or a Scope");
      }
    }
  }
}
