// MPI_Allreduce for benchmarks/java, which runs it beside Sinew's own. MPI is running by then.
#include <jni.h>
#include <mpi.h>

extern "C" JNIEXPORT jint JNICALL Java_dev_sinew_benchmarks_collectives_OpenMpi_allReduce(JNIEnv*, jclass, jlong x,
                                                                                          jlong out, jint elements) {
  return MPI_Allreduce(reinterpret_cast<const void*>(x), reinterpret_cast<void*>(out), elements, MPI_FLOAT, MPI_SUM,
                       MPI_COMM_WORLD);
}

extern "C" JNIEXPORT jstring JNICALL Java_dev_sinew_benchmarks_collectives_OpenMpi_version(JNIEnv* env, jclass) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  return env->NewStringUTF(text);
}
