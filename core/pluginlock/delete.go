package pluginlock

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DeleteCopy deletes the file or directory of p below root when it is what was
// added, to the byte, and nothing else is in it. Otherwise it deletes nothing,
// and its error says what is different.
func (p *Plugin) DeleteCopy(root string) error {
	top := filepath.Join(root, p.Top())
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is no file that was copied there", path)
		case p.Files[filepath.ToSlash(name)] == "":
			return fmt.Errorf("%s was not added", path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.Verify(root); err != nil {
		if c, ok := err.(*Changed); ok {
			return fmt.Errorf("%s %s since it was added", c.File, c.What)
		}
		return err
	}
	return os.RemoveAll(top)
}
