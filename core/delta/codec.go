package delta

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"
)

const (
	smallPage  = 1 << 20 // the most bytes of nearly every page
	pageWindow = 4 << 20 // in which the compression of a larger one looks for what repeats
)

// codec compresses the pages of one file. The library's own takes 8 MiB for
// each file, for a window that only pages of large texts fill.
type codec struct {
	parquetzstd.Codec
	small, large *zstd.Encoder
}

func (c *codec) Encode(dst, src []byte) (_ []byte, err error) {
	e, window := &c.small, smallPage
	if len(src) > smallPage {
		e, window = &c.large, pageWindow
	}
	if *e == nil {
		// Without entropy compression of all literals a block in which nothing
		// repeats, of random ids in hex, is stored as it is.
		if *e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window),
			zstd.WithLowerEncoderMem(true), zstd.WithAllLitEntropyCompression(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false)); err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	return (*e).EncodeAll(src, dst[:0]), nil
}
