#include "textflag.h"

// func selectEntryAVX2(dst *entry, row *[multiples]entry, index uint8)
TEXT ·selectEntryAVX2(SB), NOSPLIT, $0-17
	MOVQ         dst+0(FP), DI
	MOVQ         row+8(FP), SI
	MOVBLZX      index+16(FP), AX
	MOVQ         AX, X0
	VPBROADCASTD X0, Y0           // the index, in each lane
	VPCMPEQD     Y1, Y1, Y1       // -1, in each lane
	VPXOR        Y2, Y2, Y2       // the entry's place, in each lane
	VPXOR        Y3, Y3, Y3       // what was selected: y+x,
	VPXOR        Y4, Y4, Y4       // y-x
	VPXOR        Y5, Y5, Y5       // and 2dxy
	MOVQ         $32, CX          // multiples

next:
	VPSUBD   Y1, Y2, Y2
	VPCMPEQD Y0, Y2, Y6           // all ones where it is the one
	VPAND    (SI), Y6, Y7
	VPAND    32(SI), Y6, Y8
	VPAND    64(SI), Y6, Y9
	VPOR     Y7, Y3, Y3
	VPOR     Y8, Y4, Y4
	VPOR     Y9, Y5, Y5
	ADDQ     $96, SI              // entryBytes
	DECQ     CX
	JNZ      next

	VMOVDQU Y3, (DI)
	VMOVDQU Y4, 32(DI)
	VMOVDQU Y5, 64(DI)
	VZEROUPPER
	RET
