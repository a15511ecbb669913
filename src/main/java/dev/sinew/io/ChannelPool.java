package dev.sinew.io;

import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Files that are read or written by position, of which only so many are open at a time: a model may
 * have more shards than a process may open files. Those that were not used for the longest time are
 * closed first, and opened again when they are used. Safe for use by many threads.
 */
final class ChannelPool implements AutoCloseable {
  /** What a process with the usual limit of 1024 can spare for each of a few pools. */
  static final int USUAL_LIMIT = 128;

  private final int limit;
  private final List<Member> members = new ArrayList<>();

  /** Open and not in use, in the order of their last use. */
  private final Set<Member> idle = new LinkedHashSet<>();

  private int open;

  ChannelPool(int limit) {
    this.limit = limit;
  }

  /** Opens a file for the first time or again. */
  interface Opener {
    FileChannel open() throws IOException;
  }

  /** What is done with an open file. */
  interface Use<T> {
    T apply(FileChannel channel) throws IOException;
  }

  /** One file of the pool. */
  final class Member implements AutoCloseable {
    private final Opener opener;
    private FileChannel channel;
    private int users;
    private boolean closed;

    private Member(Opener opener) {
      this.opener = opener;
    }

    /**
     * Uses the file, from several threads if need be.
     *
     * @throws ClosedChannelException after {@link #close}
     */
    <T> T use(Use<T> use) throws IOException {
      FileChannel acquired = acquire(this);
      try {
        return use.apply(acquired);
      } finally {
        release(this);
      }
    }

    /** Closes the file, also under those that use it, for good. Idempotent. */
    @Override
    public void close() throws IOException {
      synchronized (ChannelPool.this) {
        closed = true;
        closeChannel(this);
      }
    }
  }

  /** A new member; its file is opened at the first use. */
  synchronized Member add(Opener opener) {
    Member member = new Member(opener);
    members.add(member);
    return member;
  }

  private synchronized FileChannel acquire(Member member) throws IOException {
    if (member.closed) {
      throw new ClosedChannelException();
    }
    if (member.channel == null) {
      evictDownTo(limit - 1);
      member.channel = openNow(member);
      open++;
    }
    idle.remove(member);
    member.users++;
    return member.channel;
  }

  /** When the system has no more descriptors, as others use them too, all idle ones go. */
  private FileChannel openNow(Member member) throws IOException {
    try {
      return member.opener.open();
    } catch (FileSystemException e) {
      if (idle.isEmpty()) {
        throw e;
      }
      evictDownTo(0);
      return member.opener.open();
    }
  }

  private synchronized void release(Member member) throws IOException {
    member.users--;
    // One that an interrupt has closed stays: it must not be opened again as if nothing were.
    if (member.users == 0 && member.channel != null && member.channel.isOpen()) {
      idle.add(member);
      evictDownTo(limit);
    }
  }

  private void evictDownTo(int most) throws IOException {
    while (open > most && !idle.isEmpty()) {
      closeChannel(idle.iterator().next());
    }
  }

  private void closeChannel(Member member) throws IOException {
    idle.remove(member);
    if (member.channel != null) {
      FileChannel channel = member.channel;
      member.channel = null;
      open--;
      channel.close();
    }
  }

  /** The number of files open now. */
  synchronized int openFiles() {
    return open;
  }

  /** Closes all files for good. Idempotent. */
  @Override
  public synchronized void close() throws IOException {
    IOException failure = null;
    for (Member member : members) {
      try {
        member.close();
      } catch (IOException e) {
        failure = failure == null ? e : failure;
      }
    }
    members.clear();
    if (failure != null) {
      throw failure;
    }
  }
}
