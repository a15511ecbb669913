# shellcheck shell=sh
# Sourced by the launcher, tests/run, tests/gpu and .ci/run: installs Debian packages, or says which to install.

# install_packages PACKAGE...: with apt-get, as root or through a sudo that asks for no password.
install_packages() {
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "sinew: install what Debian's packages of these names hold: $*" >&2
    return 1
  fi
  as_root=
  if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    if ! sudo -n true 2>/dev/null; then
      echo "sinew: install what is missing with: sudo apt-get install $*" >&2
      return 1
    fi
  fi
  echo "sinew: installing $*" >&2
  if apt_install "$@" || { $as_root apt-get -q update </dev/null >&2 && apt_install "$@"; }; then
    return 0
  fi
  echo "sinew: apt-get could not install $*; see above" >&2
  return 1
}

apt_install() {
  $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "$@" </dev/null >&2
}

# find_jdk: sets JAVA_HOME to a JDK of version 17 or later, or fails.
find_jdk() {
  path_javac=$(command -v javac) && path_javac=$(readlink -f "$path_javac")
  for jdk in "${JAVA_HOME:-}" "${path_javac%/bin/javac}" /usr/lib/jvm/*; do
    version=$("${jdk:-/none}/bin/javac" -version 2>&1) || continue
    version=${version#javac }
    version=${version%%[!0-9]*}
    if [ "${version:-0}" -ge 17 ]; then
      export JAVA_HOME="$jdk"
      return 0
    fi
  done
  return 1
}

# require_build_tools: installs what building needs and this machine lacks.
require_build_tools() {
  missing=
  find_jdk || missing="$missing openjdk-17-jdk-headless"
  command -v mvn >/dev/null || missing="$missing maven"
  command -v g++ >/dev/null || missing="$missing g++"
  command -v cmake >/dev/null || missing="$missing cmake"
  command -v make >/dev/null || command -v ninja >/dev/null || missing="$missing make"
  if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # names of packages hold no spaces
    install_packages $missing && find_jdk
  fi
}

# require_googletest: installs what the C++ tests are built with.
require_googletest() {
  echo '#include <gtest/gtest.h>' | g++ -E -x c++ - >/dev/null 2>&1 || install_packages libgtest-dev
}

# require_test_tools: installs what the tests need besides.
require_test_tools() {
  require_googletest || return
  # Another version says itself that it is not the one to judge the formatting.
  command -v clang-format-14 >/dev/null || command -v clang-format >/dev/null || install_packages clang-format-14 || return
  command -v objdump >/dev/null || install_packages binutils || return
  command -v mpirun >/dev/null && command -v mpicxx >/dev/null || install_packages openmpi-bin libopenmpi-dev ||
    echo "sinew: collectives over MPI are neither built nor tested" >&2
}
