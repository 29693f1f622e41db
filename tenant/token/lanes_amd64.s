#include "textflag.h"

// An element of the field is five words of 51 bits, each a register with one word of eight elements. A result may have
// words of up to 2^51 + 2^13; a multiplication reads 52 bits of each, and may not be given more.
//
// Z28 and Z29 are what subtraction adds, so that no word falls below 0: 2p in words, which are 2^52 - 38 and 2^52 - 2. Z30
// is 19 and Z31 is 2^51 - 1, in each lane.

DATA lanesOne<>+0(SB)/8, $1
GLOBL lanesOne<>(SB), RODATA|NOPTR, $8
DATA lanesSixteen<>+0(SB)/8, $16
GLOBL lanesSixteen<>(SB), RODATA|NOPTR, $8
DATA lanesNineteen<>+0(SB)/8, $19
GLOBL lanesNineteen<>(SB), RODATA|NOPTR, $8
DATA lanesMask<>+0(SB)/8, $0x7FFFFFFFFFFFF
GLOBL lanesMask<>(SB), RODATA|NOPTR, $8
DATA lanesTwoP<>+0(SB)/8, $0xFFFFFFFFFFFDA
DATA lanesTwoP<>+8(SB)/8, $0xFFFFFFFFFFFFE
GLOBL lanesTwoP<>(SB), RODATA|NOPTR, $16

// Where the elements of lanes are.
#define POINT_X 0
#define POINT_Y 320
#define POINT_Z 640
#define POINT_T 960
#define SUM 1280
#define DIFFERENCE 1600
#define PRODUCT 1920
#define E 2240
#define F 2560
#define G 2880
#define H 3200

#define LOAD(from, a0, a1, a2, a3, a4) \
	VMOVDQU64 (from+0)(DI), a0   \
	VMOVDQU64 (from+64)(DI), a1  \
	VMOVDQU64 (from+128)(DI), a2 \
	VMOVDQU64 (from+192)(DI), a3 \
	VMOVDQU64 (from+256)(DI), a4

#define STORE(a0, a1, a2, a3, a4, to) \
	VMOVDQU64 a0, (to+0)(DI)   \
	VMOVDQU64 a1, (to+64)(DI)  \
	VMOVDQU64 a2, (to+128)(DI) \
	VMOVDQU64 a3, (to+192)(DI) \
	VMOVDQU64 a4, (to+256)(DI)

// What is above 51 bits of a word goes to the next, and from the last, as 2^255 is 19, to the first. Uses Z5 to Z9.
#define CARRY(a0, a1, a2, a3, a4) \
	VPSRLQ  $51, a0, Z5 \
	VPSRLQ  $51, a1, Z6 \
	VPSRLQ  $51, a2, Z7 \
	VPSRLQ  $51, a3, Z8 \
	VPSRLQ  $51, a4, Z9 \
	VPANDQ  Z31, a0, a0 \
	VPANDQ  Z31, a1, a1 \
	VPANDQ  Z31, a2, a2 \
	VPANDQ  Z31, a3, a3 \
	VPANDQ  Z31, a4, a4 \
	VPMULLQ Z30, Z9, Z9 \
	VPADDQ  Z5, a1, a1  \
	VPADDQ  Z6, a2, a2  \
	VPADDQ  Z7, a3, a3  \
	VPADDQ  Z8, a4, a4  \
	VPADDQ  Z9, a0, a0

#define ADD(a0, a1, a2, a3, a4, b) \
	VPADDQ (b+0)(DI), a0, a0   \
	VPADDQ (b+64)(DI), a1, a1  \
	VPADDQ (b+128)(DI), a2, a2 \
	VPADDQ (b+192)(DI), a3, a3 \
	VPADDQ (b+256)(DI), a4, a4

#define SUBTRACT(a0, a1, a2, a3, a4, b) \
	VPADDQ Z28, a0, a0         \
	VPADDQ Z29, a1, a1         \
	VPADDQ Z29, a2, a2         \
	VPADDQ Z29, a3, a3         \
	VPADDQ Z29, a4, a4         \
	VPSUBQ (b+0)(DI), a0, a0   \
	VPSUBQ (b+64)(DI), a1, a1  \
	VPSUBQ (b+128)(DI), a2, a2 \
	VPSUBQ (b+192)(DI), a3, a3 \
	VPSUBQ (b+256)(DI), a4, a4

// The products of one word of b with the five in Z0 to Z4: their low 52 bits are of l, what is above of h.
#define ROW(b, l0, l1, l2, l3, l4, h0, h1, h2, h3, h4) \
	VMOVDQU64   b, Z5      \
	VPMADD52LUQ Z5, Z0, l0 \
	VPMADD52LUQ Z5, Z1, l1 \
	VPMADD52LUQ Z5, Z2, l2 \
	VPMADD52LUQ Z5, Z3, l3 \
	VPMADD52LUQ Z5, Z4, l4 \
	VPMADD52HUQ Z5, Z0, h0 \
	VPMADD52HUQ Z5, Z1, h1 \
	VPMADD52HUQ Z5, Z2, h2 \
	VPMADD52HUQ Z5, Z3, h3 \
	VPMADD52HUQ Z5, Z4, h4

// Z10 to Z14 become the product of Z0 to Z4 with b. Uses Z5 to Z27. The nine words of low parts, of at most 5 * 2^52,
// are Z10 to Z18; those of high parts are Z19 to Z27, and count twice in the next word, since 52 bits are not 51.
#define MULTIPLY(b) \
	VPXORQ  Z10, Z10, Z10 \
	VPXORQ  Z11, Z11, Z11 \
	VPXORQ  Z12, Z12, Z12 \
	VPXORQ  Z13, Z13, Z13 \
	VPXORQ  Z14, Z14, Z14 \
	VPXORQ  Z15, Z15, Z15 \
	VPXORQ  Z16, Z16, Z16 \
	VPXORQ  Z17, Z17, Z17 \
	VPXORQ  Z18, Z18, Z18 \
	VPXORQ  Z19, Z19, Z19 \
	VPXORQ  Z20, Z20, Z20 \
	VPXORQ  Z21, Z21, Z21 \
	VPXORQ  Z22, Z22, Z22 \
	VPXORQ  Z23, Z23, Z23 \
	VPXORQ  Z24, Z24, Z24 \
	VPXORQ  Z25, Z25, Z25 \
	VPXORQ  Z26, Z26, Z26 \
	VPXORQ  Z27, Z27, Z27 \
	ROW((b+0)(DI), Z10, Z11, Z12, Z13, Z14, Z19, Z20, Z21, Z22, Z23)   \
	ROW((b+64)(DI), Z11, Z12, Z13, Z14, Z15, Z20, Z21, Z22, Z23, Z24)  \
	ROW((b+128)(DI), Z12, Z13, Z14, Z15, Z16, Z21, Z22, Z23, Z24, Z25) \
	ROW((b+192)(DI), Z13, Z14, Z15, Z16, Z17, Z22, Z23, Z24, Z25, Z26) \
	ROW((b+256)(DI), Z14, Z15, Z16, Z17, Z18, Z23, Z24, Z25, Z26, Z27) \
	VPADDQ  Z19, Z19, Z19 \
	VPADDQ  Z20, Z20, Z20 \
	VPADDQ  Z21, Z21, Z21 \
	VPADDQ  Z22, Z22, Z22 \
	VPADDQ  Z23, Z23, Z23 \
	VPADDQ  Z24, Z24, Z24 \
	VPADDQ  Z25, Z25, Z25 \
	VPADDQ  Z26, Z26, Z26 \
	VPADDQ  Z27, Z27, Z27 \
	VPADDQ  Z19, Z11, Z11 \
	VPADDQ  Z20, Z12, Z12 \
	VPADDQ  Z21, Z13, Z13 \
	VPADDQ  Z22, Z14, Z14 \
	VPADDQ  Z23, Z15, Z15 \
	VPADDQ  Z24, Z16, Z16 \
	VPADDQ  Z25, Z17, Z17 \
	VPADDQ  Z26, Z18, Z18 \
	VPMULLQ Z30, Z15, Z15 \ // 2^255 is 19
	VPMULLQ Z30, Z16, Z16 \
	VPMULLQ Z30, Z17, Z17 \
	VPMULLQ Z30, Z18, Z18 \
	VPMULLQ Z30, Z27, Z27 \
	VPADDQ  Z15, Z10, Z10 \
	VPADDQ  Z16, Z11, Z11 \
	VPADDQ  Z17, Z12, Z12 \
	VPADDQ  Z18, Z13, Z13 \
	VPADDQ  Z27, Z14, Z14 \
	CARRY(Z10, Z11, Z12, Z13, Z14)

// Four words of 64 bits become five of 51, in a0 to a4. Uses Z16.
#define UNPACK(w0, w1, w2, w3, a0, a1, a2, a3, a4) \
	VPANDQ Z31, w0, a0 \
	VPSRLQ $51, w0, a1 \
	VPSLLQ $13, w1, Z16 \
	VPORQ  Z16, a1, a1 \
	VPANDQ Z31, a1, a1 \
	VPSRLQ $38, w1, a2 \
	VPSLLQ $26, w2, Z16 \
	VPORQ  Z16, a2, a2 \
	VPANDQ Z31, a2, a2 \
	VPSRLQ $25, w2, a3 \
	VPSLLQ $39, w3, Z16 \
	VPORQ  Z16, a3, a3 \
	VPANDQ Z31, a3, a3 \
	VPSRLQ $12, w3, a4

// a becomes a word of the entry at Z12, counted from 0, or 0 where that is in neither half, which K1 and K2 say.
#define TAKE(at, a) \
	VMOVDQU64  (at+0)(SI), Z13              \
	VMOVDQA64  Z12, a                       \
	VPERMI2Q.Z (at+64)(SI), Z13, K1, a      \
	VMOVDQU64  (at+128)(SI), Z13            \
	VMOVDQA64  Z12, Z14                     \
	VPERMI2Q.Z (at+192)(SI), Z13, K2, Z14   \
	VPORQ      Z14, a, a

// Swaps a and b in the lanes of K3.
#define SWAP(a, b) \
	VMOVDQA64 a, Z16       \
	VPBLENDMQ b, a, K3, a  \
	VPBLENDMQ Z16, b, K3, b

// func multiplyBaseIFMA(l *lanes, digit *laneDigits, table *laneTable)
TEXT ·multiplyBaseIFMA(SB), NOSPLIT, $0-24
	MOVQ l+0(FP), DI
	MOVQ digit+8(FP), DX
	MOVQ table+16(FP), SI

	VPBROADCASTQ lanesTwoP<>+0(SB), Z28
	VPBROADCASTQ lanesTwoP<>+8(SB), Z29
	VPBROADCASTQ lanesNineteen<>+0(SB), Z30
	VPBROADCASTQ lanesMask<>+0(SB), Z31

	// The point that changes nothing: 0, 1, 1, 0.
	VPXORQ       Z0, Z0, Z0
	VPBROADCASTQ lanesOne<>+0(SB), Z1
	STORE(Z0, Z0, Z0, Z0, Z0, POINT_X)
	STORE(Z1, Z0, Z0, Z0, Z0, POINT_Y)
	STORE(Z1, Z0, Z0, Z0, Z0, POINT_Z)
	STORE(Z0, Z0, Z0, Z0, Z0, POINT_T)

	XORQ BX, BX                      // which digit

step:
	VPMOVZXBQ    (DX)(BX*8), Z12     // its size, in each lane
	MOVBLZX      344(DX)(BX*1), AX   // laneDigits.negative
	KMOVW        AX, K3
	VPTESTNMQ    Z12, Z12, K4        // where it is none
	VPBROADCASTQ lanesOne<>+0(SB), Z15
	VPBROADCASTQ lanesSixteen<>+0(SB), Z16
	VPSUBQ       Z15, Z12, Z12
	VPTESTMQ     Z16, Z12, K2        // where the entry is in the upper half
	KNOTB        K2, K1              // where it is in the lower; none, which is -1 by now, seems to be in the upper,
	KANDNB       K2, K4, K2          // and is in neither
	TAKE(0, Z0)
	TAKE(256, Z1)
	TAKE(512, Z2)
	TAKE(768, Z3)
	TAKE(1024, Z4)
	TAKE(1280, Z5)
	TAKE(1536, Z6)
	TAKE(1792, Z7)
	TAKE(2048, Z8)
	TAKE(2304, Z9)
	TAKE(2560, Z10)
	TAKE(2816, Z11)
	ADDQ         $3072, SI           // the words of a digit in laneTable

	// No multiple is the point whose y+x and y-x are 1; a negative one has these the other way round, and the opposite of 2dxy.
	VPORQ  Z15, Z0, K4, Z0
	VPORQ  Z15, Z4, K4, Z4
	SWAP(Z0, Z4)
	SWAP(Z1, Z5)
	SWAP(Z2, Z6)
	SWAP(Z3, Z7)
	UNPACK(Z0, Z1, Z2, Z3, Z17, Z18, Z19, Z20, Z21)
	STORE(Z17, Z18, Z19, Z20, Z21, SUM)
	UNPACK(Z4, Z5, Z6, Z7, Z17, Z18, Z19, Z20, Z21)
	STORE(Z17, Z18, Z19, Z20, Z21, DIFFERENCE)
	UNPACK(Z8, Z9, Z10, Z11, Z17, Z18, Z19, Z20, Z21)
	VPSUBQ Z17, Z28, K3, Z17
	VPSUBQ Z18, Z29, K3, Z18
	VPSUBQ Z19, Z29, K3, Z19
	VPSUBQ Z20, Z29, K3, Z20
	VPSUBQ Z21, Z29, K3, Z21
	STORE(Z17, Z18, Z19, Z20, Z21, PRODUCT)       // of up to 2^52 - 2, which a multiplication may be given

	// The addition of RFC 8032, section 5.1.4, with Z2 = 1.
	LOAD(POINT_Y, Z0, Z1, Z2, Z3, Z4)
	SUBTRACT(Z0, Z1, Z2, Z3, Z4, POINT_X)
	CARRY(Z0, Z1, Z2, Z3, Z4)
	MULTIPLY(DIFFERENCE)
	STORE(Z10, Z11, Z12, Z13, Z14, F)             // A, for now
	LOAD(POINT_Y, Z0, Z1, Z2, Z3, Z4)
	ADD(Z0, Z1, Z2, Z3, Z4, POINT_X)
	CARRY(Z0, Z1, Z2, Z3, Z4)
	MULTIPLY(SUM)                                 // B
	VMOVDQA64 Z10, Z0
	VMOVDQA64 Z11, Z1
	VMOVDQA64 Z12, Z2
	VMOVDQA64 Z13, Z3
	VMOVDQA64 Z14, Z4
	SUBTRACT(Z0, Z1, Z2, Z3, Z4, F)
	CARRY(Z0, Z1, Z2, Z3, Z4)
	STORE(Z0, Z1, Z2, Z3, Z4, E)
	ADD(Z10, Z11, Z12, Z13, Z14, F)
	CARRY(Z10, Z11, Z12, Z13, Z14)
	STORE(Z10, Z11, Z12, Z13, Z14, H)
	LOAD(POINT_T, Z0, Z1, Z2, Z3, Z4)
	MULTIPLY(PRODUCT)
	STORE(Z10, Z11, Z12, Z13, Z14, F)             // C, for now
	LOAD(POINT_Z, Z0, Z1, Z2, Z3, Z4)
	ADD(Z0, Z1, Z2, Z3, Z4, POINT_Z)              // D
	VPADDQ    Z0, Z10, Z10
	VPADDQ    Z1, Z11, Z11
	VPADDQ    Z2, Z12, Z12
	VPADDQ    Z3, Z13, Z13
	VPADDQ    Z4, Z14, Z14
	CARRY(Z10, Z11, Z12, Z13, Z14)
	STORE(Z10, Z11, Z12, Z13, Z14, G)
	SUBTRACT(Z0, Z1, Z2, Z3, Z4, F)
	CARRY(Z0, Z1, Z2, Z3, Z4)                     // F
	MULTIPLY(G)
	STORE(Z10, Z11, Z12, Z13, Z14, POINT_Z)
	MULTIPLY(E)
	STORE(Z10, Z11, Z12, Z13, Z14, POINT_X)
	LOAD(H, Z0, Z1, Z2, Z3, Z4)
	MULTIPLY(G)
	STORE(Z10, Z11, Z12, Z13, Z14, POINT_Y)
	MULTIPLY(E)
	STORE(Z10, Z11, Z12, Z13, Z14, POINT_T)

	INCQ BX
	CMPQ BX, $43                     // digits
	JB   step

	// Nothing of the digits or the points stays in a register: who preempts this goroutine would keep it.
	KXORW  K1, K1, K1
	KXORW  K2, K2, K2
	KXORW  K3, K3, K3
	KXORW  K4, K4, K4
	VPXORQ Z16, Z16, Z16
	VPXORQ Z17, Z17, Z17
	VPXORQ Z18, Z18, Z18
	VPXORQ Z19, Z19, Z19
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z22, Z22, Z22
	VPXORQ Z23, Z23, Z23
	VPXORQ Z24, Z24, Z24
	VPXORQ Z25, Z25, Z25
	VPXORQ Z26, Z26, Z26
	VPXORQ Z27, Z27, Z27
	VZEROALL
	RET
