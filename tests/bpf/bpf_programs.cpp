// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/bpf_programs.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gelf.h>

#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>

#include "libebpf/detail/unique_fd.h"

namespace ebpf::test {
namespace {

class ElfFile {
 public:
  explicit ElfFile(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    elf_version(EV_CURRENT);
    elf_.reset(elf_begin(fd_.get(), ELF_C_READ, nullptr));
    if (!elf_) throw std::runtime_error(path + ": " + elf_errmsg(-1));
  }
  Elf* get() const { return elf_.get(); }
  std::string section_name(const GElf_Shdr& header) const {
    size_t names = 0;
    elf_getshdrstrndx(get(), &names);
    const char* name = elf_strptr(get(), names, header.sh_name);
    return name ? name : "";
  }

 private:
  UniqueFd fd_;
  std::unique_ptr<Elf, int (*)(Elf*)> elf_{nullptr, elf_end};
};

struct Symbols {
  Elf_Data* data = nullptr;
  size_t names = 0;
  size_t count = 0;

  explicit Symbols(const ElfFile& file) {
    for (Elf_Scn* section = nullptr; (section = elf_nextscn(file.get(), section));) {
      GElf_Shdr header;
      gelf_getshdr(section, &header);
      if (header.sh_type != SHT_SYMTAB) continue;
      data = elf_getdata(section, nullptr);
      names = header.sh_link;
      count = header.sh_size / header.sh_entsize;
    }
    if (!data) throw std::runtime_error("the object has no symbols");
  }
  GElf_Sym at(size_t i) const {
    GElf_Sym symbol;
    gelf_getsym(data, static_cast<int>(i), &symbol);
    return symbol;
  }
};

// What the instruction at a place of a section refers to.
struct Reference {
  std::string name;     // of the symbol; of a section's: of that section
  std::string section;  // where the symbol stands; none: outside of the object
  uint64_t at = 0;      // in there
};
using References = std::map<std::pair<size_t, uint64_t>, Reference>;  // by (section, byte)

std::string name_of_section(const ElfFile& file, size_t index) {
  GElf_Shdr header;
  Elf_Scn* section = elf_getscn(file.get(), index);
  if (index == SHN_UNDEF || index >= SHN_LORESERVE || !section) return "";
  gelf_getshdr(section, &header);
  return file.section_name(header);
}

References read_references(const ElfFile& file, const Symbols& symbols) {
  References found;
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(file.get(), section));) {
    GElf_Shdr header;
    gelf_getshdr(section, &header);
    if (header.sh_type != SHT_REL) continue;
    Elf_Data* data = elf_getdata(section, nullptr);
    for (size_t i = 0; i < header.sh_size / header.sh_entsize; i++) {
      GElf_Rel reference;
      gelf_getrel(data, static_cast<int>(i), &reference);
      const GElf_Sym symbol = symbols.at(GELF_R_SYM(reference.r_info));
      found[{header.sh_info, reference.r_offset}] = {
          elf_strptr(file.get(), symbols.names, symbol.st_name),
          name_of_section(file, symbol.st_shndx), symbol.st_value};
    }
  }
  return found;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

int index_of(const std::vector<ModelMap>& maps, const Reference& reference) {
  const bool is_map = reference.section == ".maps";
  for (size_t i = 0; i < maps.size(); i++) {
    const std::string& name = maps[i].name;
    if (is_map ? name == reference.name : ends_with(name, reference.section)) {
      return static_cast<int>(i);
    }
  }
  throw std::runtime_error("an instruction refers to '" + reference.name + "', which is no map");
}

std::vector<ModelMap> read_maps(const std::string& path) {
  std::unique_ptr<bpf_object, void (*)(bpf_object*)> object(
      bpf_object__open_file(path.c_str(), nullptr), bpf_object__close);
  if (!object) throw std::runtime_error(path + ": " + std::strerror(errno));
  std::vector<ModelMap> maps;
  bpf_map* map;
  bpf_object__for_each_map(map, object.get()) {
    ModelMap model = {bpf_map__name(map), bpf_map__type(map), bpf_map__key_size(map),
                      bpf_map__value_size(map), bpf_map__max_entries(map)};
    size_t bytes = 0;
    if (const void* initial = bpf_map__initial_value(map, &bytes)) {
      const auto* from = static_cast<const uint8_t*>(initial);
      model.initial.assign(from, from + bytes);
    }
    maps.push_back(std::move(model));
  }
  return maps;
}

// Functions that programs share; libbpf puts them behind each program that needs them.
constexpr const char* kFunctionsSection = ".text";

class Linker {
 public:
  Linker(const ElfFile& file, const Symbols& symbols)
      : file_(file), references_(read_references(file, symbols)) {
    for (size_t i = 1; i < section_count(); i++) {
      if (name_of_section(file, i) == kFunctionsSection) functions_ = i;
    }
  }

  // Adds the bytes [at, at + count) of a section.
  void append(ModelProgram& program, size_t section, uint64_t at, uint64_t count) const {
    const size_t start = program.code.size();
    const Elf_Data* text = elf_getdata(elf_getscn(file_.get(), section), nullptr);
    program.code.resize(start + count / sizeof(bpf_insn));
    std::memcpy(&program.code[start], static_cast<const char*>(text->d_buf) + at, count);
    for (size_t i = start; i < start + count / sizeof(bpf_insn); i++) {
      const auto found = references_.find({section, at + (i - start) * sizeof(bpf_insn)});
      if (found != references_.end()) resolve(program, i, found->second);
    }
  }

 private:
  size_t section_count() const {
    size_t count = 0;
    elf_getshdrnum(file_.get(), &count);
    return count;
  }

  void resolve(ModelProgram& program, size_t at, const Reference& reference) const {
    bpf_insn& it = program.code[at];
    if (it.code == (BPF_JMP | BPF_CALL)) return resolve_call(program, at, reference);
    const int map = index_of(*program.maps, reference);
    if (reference.section == ".maps") {
      it.src_reg = BPF_PSEUDO_MAP_FD;
    } else {
      it.src_reg = BPF_PSEUDO_MAP_VALUE;
      program.code.at(at + 1).imm = it.imm + static_cast<int>(reference.at);
    }
    it.imm = map;
  }

  void resolve_call(ModelProgram& program, size_t at, const Reference& reference) const {
    if (reference.section.empty()) {
      program.code[at].src_reg = BPF_PSEUDO_KFUNC_CALL;
      program.code[at].imm = static_cast<int>(program.kernel_functions.size());
      program.kernel_functions.push_back(reference.name);
      return;
    }
    if (reference.section != kFunctionsSection) {
      throw std::runtime_error(program.name + " calls " + reference.name + " in section " +
                               reference.section + ", which nobody here follows");
    }
    const int target = static_cast<int>(reference.at / sizeof(bpf_insn)) + program.code[at].imm + 1;
    if (program.functions_at == 0) {
      GElf_Shdr header;
      gelf_getshdr(elf_getscn(file_.get(), functions_), &header);
      program.functions_at = program.code.size();
      append(program, functions_, 0, header.sh_size);
    }
    program.code[at].imm =
        static_cast<int>(program.functions_at) + target - static_cast<int>(at) - 1;
  }

  const ElfFile& file_;
  References references_;
  size_t functions_ = SHN_UNDEF;
};

}  // namespace

std::vector<ModelProgram> read_programs(const std::string& path, std::vector<ModelMap>* maps) {
  *maps = read_maps(path);
  const ElfFile file(path);
  const Symbols symbols(file);
  const Linker linker(file, symbols);
  std::vector<ModelProgram> programs;
  for (size_t i = 0; i < symbols.count; i++) {
    const GElf_Sym symbol = symbols.at(i);
    const std::string section = name_of_section(file, symbol.st_shndx);
    if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || section == kFunctionsSection) continue;
    ModelProgram program;
    program.name = elf_strptr(file.get(), symbols.names, symbol.st_name);
    program.section = section;
    program.maps = maps;
    linker.append(program, symbol.st_shndx, symbol.st_value, symbol.st_size);
    programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace ebpf::test
