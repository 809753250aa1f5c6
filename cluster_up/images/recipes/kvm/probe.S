# A guest of one sector that does what every x86-64 kernel does first: from real mode through protected mode and paging to
# long mode, SSE, ten million steps. At its end it writes 0x10 to isa-debug-exit; QEMU then ends with (0x10 << 1) | 1.
# Real mode alone proves nothing: it runs on nested hypervisors on which every kernel hangs.
    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movw $0x1000, %di               # page tables at 0x1000, 0x2000, 0x3000: one identity page of 2 MiB
    movw $0x1800, %cx
    cld
    rep stosw
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x0083, 0x3000
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx                   # long mode
    jnc fail
    movl $0x20, %eax                # CR4.PAE
    movl %eax, %cr4
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          # EFER.LME
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax                 # PG and PE in one step
    orl $0x80000001, %eax
    lgdt gdtr
    movl %eax, %cr0
    ljmp $8, $long
fail:
    movb $0x20, %al
    outb %al, $0xf4
    hlt
    .code64
long:
    movl $0x10, %eax
    movw %ax, %ds
    movw %ax, %ss
    movq %cr0, %rax                 # SSE on: CR0.EM off, CR0.MP, CR4.OSFXSR, CR4.OSXMMEXCPT
    andl $~4, %eax
    orl $2, %eax
    movq %rax, %cr0
    movq %cr4, %rax
    orq $0x600, %rax
    movq %rax, %cr4
    movdqu 0x7c00, %xmm0
    movdqu %xmm0, 0x5000
    movl $10000000, %ecx
1:  decl %ecx
    jnz 1b
    movb $0x10, %al
    outb %al, $0xf4
    hlt
    .balign 8
gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdtr:
    .word . - gdt - 1
    .long gdt
    .org 510
    .word 0xaa55
