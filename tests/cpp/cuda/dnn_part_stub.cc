// In the place of parts of cuDNN, the first and the last that the plug-in opens, for dnn_stub.cc to find.
extern "C" const int sn_dnn_part_stub = 9;
