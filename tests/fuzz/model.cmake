sr_fuzz(fuzz_safetensors SOURCES safetensors_fuzz.cpp LINKS sr_model sr_base)
sr_fuzz(fuzz_config SOURCES config_fuzz.cpp LINKS sr_model sr_base)
sr_fuzz(fuzz_checkpoint_index SOURCES checkpoint_index_fuzz.cpp LINKS sr_model sr_base)
