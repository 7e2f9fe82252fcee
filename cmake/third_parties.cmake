# Every third party as one interface target. Nothing is downloaded or built here.

find_package(Threads REQUIRED)
find_package(GTest REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(TOMLPP REQUIRED IMPORTED_TARGET tomlplusplus)
find_library(US_XXHASH xxhash REQUIRED)
find_library(US_ZSTD zstd REQUIRED)
find_library(US_UTF8PROC utf8proc REQUIRED)
# By find_library: pkg-config walks a hundred files of gRPC's.
find_library(US_GRPCPP grpc++ REQUIRED)
find_library(US_GRPC grpc REQUIRED)
find_library(US_GPR gpr REQUIRED)
find_library(US_ABSL_SYNCHRONIZATION absl_synchronization REQUIRED)  # inlined by gRPC's headers
find_library(US_PROTOBUF protobuf REQUIRED)
find_program(US_PROTOC protoc REQUIRED)
find_program(US_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)

file(GLOB US_SITE LIST_DIRECTORIES true "${US_VENV}/lib/python3*/site-packages")
if(NOT US_SITE)
  message(FATAL_ERROR "no Python environment at ${US_VENV}: run `make setup`, or pass -DUS_VENV=<venv with torch and pyarrow>")
endif()

# Arrow and Parquet: the C++ libraries inside the pyarrow wheel, which has no CMake config.
set(US_PYARROW "${US_SITE}/pyarrow")
file(GLOB US_ARROW_LIB "${US_PYARROW}/libarrow.so.*")
file(GLOB US_PARQUET_LIB "${US_PYARROW}/libparquet.so.*")
if(NOT US_ARROW_LIB OR NOT US_PARQUET_LIB)
  message(FATAL_ERROR "no Arrow libraries in ${US_PYARROW}: run `make setup`")
endif()
add_library(us_third_arrow INTERFACE)
target_include_directories(us_third_arrow SYSTEM INTERFACE "${US_PYARROW}/include")
target_link_libraries(us_third_arrow INTERFACE "${US_PARQUET_LIB}" "${US_ARROW_LIB}")
target_link_options(us_third_arrow INTERFACE "-Wl,-rpath,${US_PYARROW}")

# torch: its include folder also carries fmt, protobuf and pybind11, which would shadow the system's, so only links to
# torch's own folders are put on the include path.
if(NOT US_SANITIZE)
  set(US_TORCH "${US_SITE}/torch")
  if(NOT EXISTS "${US_TORCH}/lib/libtorch_cpu.so")
    message(FATAL_ERROR "no torch libraries in ${US_TORCH}: run `make setup`")
  endif()
  set(US_TORCH_INCLUDE "${CMAKE_BINARY_DIR}/torch-include")
  file(MAKE_DIRECTORY "${US_TORCH_INCLUDE}")
  foreach(folder ATen c10 torch caffe2)
    file(CREATE_LINK "${US_TORCH}/include/${folder}" "${US_TORCH_INCLUDE}/${folder}" SYMBOLIC)
  endforeach()
  add_library(us_third_torch INTERFACE)
  target_include_directories(us_third_torch SYSTEM INTERFACE
    "${US_TORCH_INCLUDE}" "${US_TORCH_INCLUDE}/torch/csrc/api/include")
  target_link_options(us_third_torch INTERFACE "-Wl,-rpath,${US_TORCH}/lib")
  target_link_libraries(us_third_torch INTERFACE "${US_TORCH}/lib/libtorch_cpu.so" "${US_TORCH}/lib/libc10.so")
endif()

# https of the gateway.
find_package(OpenSSL REQUIRED)
add_library(us_third_ssl INTERFACE)
target_link_libraries(us_third_ssl INTERFACE OpenSSL::SSL OpenSSL::Crypto)

# hnswlib: headers alone.
find_path(US_HNSWLIB hnswlib/hnswlib.h REQUIRED)
add_library(us_third_hnswlib INTERFACE)
target_include_directories(us_third_hnswlib SYSTEM INTERFACE "${US_HNSWLIB}")

add_library(us_third_xxhash INTERFACE)
target_link_libraries(us_third_xxhash INTERFACE ${US_XXHASH})
add_library(us_third_zstd INTERFACE)
target_link_libraries(us_third_zstd INTERFACE ${US_ZSTD} z)
add_library(us_third_utf8proc INTERFACE)
target_link_libraries(us_third_utf8proc INTERFACE ${US_UTF8PROC})
add_library(us_third_grpc INTERFACE)
target_link_libraries(us_third_grpc INTERFACE ${US_GRPCPP} ${US_GRPC} ${US_GPR} ${US_PROTOBUF} ${US_ABSL_SYNCHRONIZATION})
