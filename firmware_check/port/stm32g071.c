/* Port for the NUCLEO-G071RB (STM32G071RB, Cortex-M0+ at 64 MHz): USART2 on PA2/PA3, the ST-LINK's virtual COM port.
 *
 * Registers after RM0444. Not run on a board here: QEMU has no STM32G0.
 *
 * Clock: HSI16 (factory-trimmed, within 1 %) / 1 x 8 / 2 = 64 MHz, two flash wait states; times on this board are as
 * exact as HSI16. The core has no cycle counter, so the stopwatch is TIM2, 32 bits wide. */

#include <stdint.h>

#include "cortex_m4.h"
#include "ecm_port.h"

#define CORE_HZ 64000000u
#define BAUD 115200u
#define USART2_IRQ 28u

#define RCC_CR ECM_REGISTER(0x40021000u)
#define RCC_CFGR ECM_REGISTER(0x40021008u)
#define RCC_PLLCFGR ECM_REGISTER(0x4002100Cu)
#define RCC_IOPENR ECM_REGISTER(0x40021034u)
#define RCC_APBENR1 ECM_REGISTER(0x4002103Cu)
#define CR_HSION (1u << 8)
#define CR_HSIRDY (1u << 10)
#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define PLLCFGR_HSI16_TIMES_8_BY_2 \
    (2u | 8u << 8 | 1u << 28 | 1u << 29) /* PLLSRC HSI16, PLLM /1, PLLN 8, PLLREN, PLLR /2 */
#define CFGR_SW (7u << 0)
#define CFGR_SW_PLL (2u << 0)
#define CFGR_SWS (7u << 3)
#define CFGR_SWS_PLL (2u << 3)
#define IOPENR_GPIOAEN (1u << 0)
#define APBENR1_TIM2EN (1u << 0)
#define APBENR1_USART2EN (1u << 17)

#define FLASH_ACR ECM_REGISTER(0x40022000u)
#define ACR_LATENCY (7u << 0)
#define ACR_LATENCY_2 (2u << 0)
#define ACR_PRFTEN (1u << 8)
#define ACR_ICEN (1u << 9)

#define GPIOA_MODER ECM_REGISTER(0x50000000u)
#define GPIOA_AFRL ECM_REGISTER(0x50000020u)
#define ALTERNATE 2u /* of MODER's two bits a pin */
#define PA2_USART2_TX 1u
#define PA3_USART2_RX 1u

#define USART_CR1 ECM_REGISTER(0x40004400u)
#define USART_BRR ECM_REGISTER(0x4000440Cu)
#define USART_ISR ECM_REGISTER(0x4000441Cu)
#define USART_ICR ECM_REGISTER(0x40004420u)
#define USART_RDR ECM_REGISTER(0x40004424u)
#define USART_TDR ECM_REGISTER(0x40004428u)
#define CR1_UE (1u << 0)
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR1_RXNEIE (1u << 5)
#define ISR_ERRORS (15u << 0) /* parity, framing, noise, overrun; the same bits in ICR clear them */
#define ISR_RXNE (1u << 5)
#define ISR_TC (1u << 6)
#define ISR_TXE (1u << 7)

#define TIM2_CR1 ECM_REGISTER(0x40000000u)
#define TIM2_CNT ECM_REGISTER(0x40000024u)
#define TIM_CEN (1u << 0)

static uint32_t started;

static void open_clock(void)
{
    FLASH_ACR = (FLASH_ACR & ~ACR_LATENCY) | ACR_LATENCY_2 | ACR_PRFTEN | ACR_ICEN;
    while ((FLASH_ACR & ACR_LATENCY) != ACR_LATENCY_2) {
    }
    RCC_CR |= CR_HSION;
    while ((RCC_CR & CR_HSIRDY) == 0u) {
    }
    RCC_PLLCFGR = PLLCFGR_HSI16_TIMES_8_BY_2;
    RCC_CR |= CR_PLLON;
    while ((RCC_CR & CR_PLLRDY) == 0u) {
    }
    RCC_CFGR = (RCC_CFGR & ~CFGR_SW) | CFGR_SW_PLL;
    while ((RCC_CFGR & CFGR_SWS) != CFGR_SWS_PLL) {
    }
}

static void open_line(void)
{
    RCC_IOPENR |= IOPENR_GPIOAEN;
    RCC_APBENR1 |= APBENR1_USART2EN | APBENR1_TIM2EN;
    (void)RCC_APBENR1; /* a peripheral answers two cycles after its clock is on */
    GPIOA_AFRL = (GPIOA_AFRL & ~(15u << 8 | 15u << 12)) | PA2_USART2_TX << 8 | PA3_USART2_RX << 12;
    GPIOA_MODER = (GPIOA_MODER & ~(3u << 4 | 3u << 6)) | ALTERNATE << 4 | ALTERNATE << 6;
    USART_BRR = (CORE_HZ + BAUD / 2u) / BAUD;
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE | CR1_RXNEIE;
}

int32_t ecm_port_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    open_clock();
    ecm_sleep_open(USART2_IRQ, CORE_HZ);
    open_line();
    TIM2_CR1 = TIM_CEN;
    return 0;
}

/* Clears the errors of the line on the way: an overrun's flag would keep the interrupt pending. */
uint32_t ecm_received(void)
{
    const uint32_t state = USART_ISR;
    if ((state & ISR_ERRORS) != 0u) {
        USART_ICR = ISR_ERRORS;
    }
    return state & ISR_RXNE;
}

int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    int32_t count = 0;
    if (ecm_sleep_until_received(USART2_IRQ, timeout_ms) == 0u) {
        return 0;
    }
    while (count < capacity && ecm_received() != 0u) {
        bytes[count++] = (uint8_t)USART_RDR;
    }
    return count;
}

int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    for (int32_t done = 0; done < count; done++) {
        while ((USART_ISR & ISR_TXE) == 0u) {
        }
        USART_TDR = bytes[done];
    }
    return count;
}

/* The timer counts the core's clock, asleep or not, and comes round after 67 s. */
void ecm_port_clock_start(void) { started = TIM2_CNT; }

float ecm_port_clock_ms(void) { return (float)(TIM2_CNT - started) / (CORE_HZ / 1e3f); }

void ecm_port_note(const char *text, int32_t count) { (void)ecm_port_write((const uint8_t *)text, count); }

void ecm_port_exit(int32_t code)
{
    (void)code;
    while ((USART_ISR & ISR_TC) == 0u) {
    }
    ecm_sleep_for_ever(USART2_IRQ);
    for (;;) {
    }
}
