add_library(sr_fuzz_tokenizers STATIC "${CMAKE_SOURCE_DIR}/tests/text/tokenizer_files.cpp")
sr_configure(sr_fuzz_tokenizers)
target_include_directories(sr_fuzz_tokenizers PUBLIC "${CMAKE_SOURCE_DIR}/tests")
target_link_libraries(sr_fuzz_tokenizers PRIVATE fmt::fmt nlohmann_json::nlohmann_json)

sr_fuzz(fuzz_tokenizer_json SOURCES tokenizer_json_fuzz.cpp LINKS sr_text sr_base)
sr_fuzz(fuzz_tokenizer_model SOURCES tokenizer_model_fuzz.cpp LINKS sr_text sr_base)
sr_fuzz(fuzz_text_encoding
  SOURCES text_encoding_fuzz.cpp
  LINKS sr_fuzz_tokenizers sr_text sr_base nlohmann_json::nlohmann_json)
