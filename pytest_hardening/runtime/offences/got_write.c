/* Writes into the slot through which a function of the C library is called. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>

#include "offence.h"

static int on_object(struct dl_phdr_info *object, size_t size, void *slot)
{
    (void)size;
    const ElfW(Dyn) *entry = NULL;
    ElfW(Addr) relocations = 0, type = DT_RELA;
    for (int n = 0; n < object->dlpi_phnum; n++)
        if (object->dlpi_phdr[n].p_type == PT_DYNAMIC)
            entry = (const void *)(object->dlpi_addr + object->dlpi_phdr[n].p_vaddr);
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_JMPREL)
            relocations = entry->d_un.d_ptr;
        if (entry->d_tag == DT_PLTREL)
            type = entry->d_un.d_val;
    }
    if (relocations) {
        /* musl and some loaders leave the table's address as it is in the file */
        if (relocations < object->dlpi_addr)
            relocations += object->dlpi_addr;
        ElfW(Addr) offset = type == DT_RELA ? ((const ElfW(Rela) *)relocations)->r_offset
                                            : ((const ElfW(Rel) *)relocations)->r_offset;
        *(void ***)slot = (void **)(object->dlpi_addr + offset);
    }
    return 1;  /* the program itself comes first, and is the only one of interest */
}

int main(void)
{
    void **slot = NULL;
    dl_iterate_phdr(on_object, &slot);
    if (!slot) {
        puts("offence: no slot");
        return 44;
    }
    *(void *volatile *)slot = *(void *volatile *)slot;
    went_through();
}
