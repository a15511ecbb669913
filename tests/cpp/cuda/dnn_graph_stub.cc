// In the place of a part of cuDNN, libcudnn_graph.so.9, for dnn_stub.cc to find.
extern "C" const int sn_dnn_graph_stub = 9;
