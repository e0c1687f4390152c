/* Classifies images by a SavedModel through TensorFlow's C API, on the same runtime that
   TensorFlow Serving uses for a SavedModel.

     classify SAVED_MODEL INPUT OUTPUT FILE...

   INPUT and OUTPUT are tensors of one signature, such as "classify_bytes_image_bytes:0".
   If INPUT takes strings, a FILE is an image file; if it takes floats, a FILE contains
   the float32 pixels of one image. For each FILE it prints a line: the probabilities. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MAX_RANK = 8 };

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %.*s\n", what, (int)strcspn(why, "\n"), why);
  exit(1);
}

static void check(const char *what, TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static TF_Output tensor(TF_Graph *graph, const char *name) {
  const char *colon = strrchr(name, ':');
  if (!colon) fail(name, "must be OPERATION:INDEX");
  char *operation = strndup(name, colon - name);
  TF_Output found = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  free(operation);
  if (!found.oper) fail(name, "is not in the graph");
  return found;
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, "cannot be read");
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char *data = malloc(*size + 1);
  if (fread(data, 1, *size, file) != *size) fail(path, "cannot be read");
  fclose(file);
  return data;
}

static TF_Tensor *strings(char **paths, int count) {
  int64_t shape[] = {count};
  TF_Tensor *batch = TF_AllocateTensor(TF_STRING, shape, 1, count * sizeof(TF_TString));
  TF_TString *items = TF_TensorData(batch);
  for (int i = 0; i < count; i++) {
    size_t size;
    char *data = read_file(paths[i], &size);
    TF_StringInit(&items[i]);
    TF_StringCopy(&items[i], data, size);
    free(data);
  }
  return batch;
}

static TF_Tensor *floats(char **paths, int count, int64_t *shape, int rank) {
  size_t bytes = sizeof(float);
  for (int i = 1; i < rank; i++) bytes *= shape[i];
  shape[0] = count;
  TF_Tensor *batch = TF_AllocateTensor(TF_FLOAT, shape, rank, count * bytes);
  for (int i = 0; i < count; i++) {
    size_t size;
    char *data = read_file(paths[i], &size);
    if (size != bytes) fail(paths[i], "does not have the size of the network's input");
    memcpy((char *)TF_TensorData(batch) + i * bytes, data, bytes);
    free(data);
  }
  return batch;
}

int main(int argc, char **argv) {
  if (argc < 5) fail("usage", "classify SAVED_MODEL INPUT OUTPUT FILE...");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1,
                                                     graph, NULL, status);
  check(argv[1], status);

  TF_Output input = tensor(graph, argv[2]), output = tensor(graph, argv[3]);
  char **files = argv + 4;
  int count = argc - 4, rank = TF_GraphGetTensorNumDims(graph, input, status);
  int64_t shape[MAX_RANK];
  check(argv[2], status);
  if (rank < 1 || rank > MAX_RANK) fail(argv[2], "must be a batch");
  TF_GraphGetTensorShape(graph, input, shape, rank, status);
  int takes_files = TF_OperationOutputType(input) == TF_STRING;
  TF_Tensor *batch = takes_files ? strings(files, count) : floats(files, count, shape, rank);

  TF_Tensor *result = NULL;
  TF_SessionRun(session, NULL, &input, &batch, 1, &output, &result, 1, NULL, 0, NULL,
                status);
  check("run", status);
  const float *probabilities = TF_TensorData(result);
  int64_t classes = TF_Dim(result, 1);
  for (int64_t i = 0; i < count * classes; i++)
    printf("%.9g%c", probabilities[i], (i + 1) % classes ? ' ' : '\n');

  TF_DeleteTensor(batch);
  TF_DeleteTensor(result);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
